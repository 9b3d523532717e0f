"""`skipopu kv`: the K/V reads of a trace alone, streamed as fast as the memory system can."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from skipopu.cli import kv_configurations
from skipopu.cli.options import (
    BOARD,
    BUFFER_HELP,
    MAP_HELP,
    OVERLAY,
    BoardName,
    KvMapName,
    OverlayName,
    Ports,
    Settings,
    Switch,
    with_memory,
)
from skipopu.cli.terminal import progress
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.program.context import Context
    from skipopu.spec.board import Board


class PhaseName(StrEnum):
    """Which passes of a trace are read."""

    DECODE = "decode"
    PREFILL = "prefill"


Traces = Annotated[
    list[Path], typer.Argument(metavar="T...", help="A trace file of skipopu trace; several with --configurations.")
]
Map = Annotated[KvMapName | None, typer.Option("--map", help=MAP_HELP)]
Buffer = Annotated[Switch | None, typer.Option("--buffer", help=BUFFER_HELP)]
Phase = Annotated[PhaseName | None, typer.Option("--phase", help="What is read.", show_default="decode")]
Every = Annotated[int, typer.Option("--every", metavar="N", help="Simulate one decode step in N.")]
Step = Annotated[int | None, typer.Option(help="Decode step of the round list.", show_default="the last")]
Layers = Annotated[
    str | None, typer.Option(metavar="A-B,C", help="Layers of the round list and the picture.", show_default="0-3")
]
List = Annotated[bool, typer.Option("--list", help="Print every round of these layers.")]
Configurations = Annotated[
    bool,
    typer.Option("--configurations", help="Dense, then each trace interleaved, token-wise, and with the buffer."),
]
Out = Annotated[Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write kv.json and schedule.svg there.")]
Json = Annotated[bool, typer.Option("--json", help="Print kv.json and nothing else.")]


def kv(
    traces: Traces,
    overlay: OverlayName = OVERLAY,
    board: BoardName = BOARD,
    settings: Settings = None,
    ports: Ports = None,
    kv_map: Map = None,
    buffer: Buffer = None,
    phase: Phase = None,
    every: Every = 1,
    step: Step = None,
    layers: Layers = None,
    rounds: List = False,
    configurations: Configurations = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Stream the K/V reads of a trace without the rest of the machine.

    KV buffer, HBM ports and memory are those of the simulator, cycle by cycle; no weights move, and what stands at
    the output is taken at once. Prints rounds, port use, effective and physical bandwidth and what the cache stores;
    draws the schedule of a few layers.
    """
    from skipopu.cli.kv_schedule import finish, schedule
    from skipopu.results.kv_reads import read_kv
    from skipopu.results.kv_record import check_writable

    if out is not None:
        check_writable(out)
    if configurations:
        single = {"--map": kv_map, "--buffer": buffer, "--phase": phase, "--step": step, "--layers": layers}
        kv_configurations.refuse(single | {"--list": rounds or None}, settings or ())
        kv_configurations.compare(traces, overlay, board, with_memory(settings, ports, None, None), every, out, json)
        return
    if len(traces) > 1:
        raise SpecError(f"{traces[1]}: a second trace; give one, or --configurations")
    context, card = _resolved(traces[0], overlay, board, with_memory(settings, ports, kv_map, buffer))
    part = (phase or PhaseName.DECODE).value
    number, found = schedule(context, part, step, layers)
    with progress("streaming K/V") as report:
        reads = read_kv(context, card, part, every, report)
    finish(reads, card, number, found, rounds, out, json)


def _resolved(path: Path, overlay: str, board: str, settings: tuple[str, ...]) -> "tuple[Context, Board]":
    from skipopu import machine
    from skipopu.program.context import resolve
    from skipopu.trace import read_trace

    trace, parts = read_trace(path), machine(overlay, board, settings)
    return resolve(trace, *parts), parts[1]
