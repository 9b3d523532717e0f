"""`skipopu report`: draw the report of a result again."""

from pathlib import Path
from typing import Annotated

import typer

from skipopu.cli.terminal import say

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A result directory of skipopu sim.")]


Svg = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Also write the time by block and cause as a picture.")
]


def report(directory: Directory, svg: Svg = None) -> None:
    """Draw report.html of a result directory again and print its path."""
    from skipopu.results.directory import read_result, rewrite_report, write_picture
    from skipopu.results.figure import svg_text
    from skipopu.results.plot_time import blocks_and_causes

    if svg is not None:
        write_picture(svg, svg_text(blocks_and_causes(read_result(directory))))
    say(str(rewrite_report(directory)))
