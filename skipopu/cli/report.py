"""`skipopu report`: draw the report of a result again."""

from pathlib import Path
from typing import Annotated

import typer

from skipopu.cli.terminal import say

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="A result directory of skipopu sim.")]


def report(directory: Directory) -> None:
    """Draw report.html of a result directory again and print its path."""
    from skipopu.results.directory import rewrite_report

    say(str(rewrite_report(directory)))
