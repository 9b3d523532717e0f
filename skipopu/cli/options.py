"""Arguments that several commands share, each with one name and one meaning."""

from pathlib import Path
from typing import Annotated

import typer

OVERLAY, BOARD = "skipopu-u280", "u280"

Traces = Annotated[list[Path], typer.Argument(metavar="T...", help="Trace files or result directories.")]
TraceFile = Annotated[Path, typer.Argument(metavar="T", help="A trace file of skipopu trace.")]
OverlayName = Annotated[str, typer.Option("--overlay", help="A shipped overlay or a .toml file.")]
BoardName = Annotated[str, typer.Option("--board", help="A shipped board or a .toml file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value for a parameter, e.g. pe_array.columns=64 or board.hbm.timing.tRP=6; repeatable.",
    ),
]
MaxCycles = Annotated[int | None, typer.Option("--max-cycles", min=1, help="Give up beyond so many.")]
