"""`skipopu compare`: runs side by side, ratios against the first."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from skipopu.cli import dataflows as attention
from skipopu.cli.options import (
    BOARD,
    OVERLAY,
    BoardName,
    DataflowChoice,
    DataflowName,
    KvBuffer,
    KvMap,
    MaxCycles,
    Ports,
    Settings,
    Traces,
    with_memory,
)
from skipopu.cli.simulation import run, show
from skipopu.spec.error import SpecError

Overlays = Annotated[
    list[str] | None,
    typer.Option("--overlay", help="Overlays to run every trace on; repeatable.", show_default=OVERLAY),
]
Dataflows = Annotated[
    list[DataflowChoice] | None,
    typer.Option("--dataflow", help="Compare the attention module alone in these dataflows; repeatable."),
]


def compare(
    traces: Traces,
    overlays: Overlays = None,
    board: BoardName = BOARD,
    settings: Settings = None,
    ports: Ports = None,
    kv_map: KvMap = None,
    kv_buffer: KvBuffer = None,
    max_cycles: MaxCycles = None,
    dataflows: Dataflows = None,
) -> None:
    """Print several runs side by side, with ratios against the first.

    Trace files are simulated on every overlay; result directories are read as they are. With --dataflow, the cycles
    of attention in each dataflow, and what the PE array spent them on.
    """
    given = with_memory(settings, ports, kv_map, kv_buffer)
    if dataflows:
        names = tuple(DataflowName) if dataflows == [DataflowChoice.ALL] else tuple(dataflows)
        attention.compare(traces, names, overlays or [OVERLAY], board, given, max_cycles)
        return
    _check(traces, overlays, given)
    columns: list[tuple[str, Mapping[str, Any]]] = []
    for path in traces:
        if path.is_dir():
            columns.append(_read(path))
        else:
            columns += _simulated(path, overlays or [OVERLAY], board, given, max_cycles)
    show([summary for _, summary in columns], [name for name, _ in columns])


def _check(traces: Sequence[Path], overlays: list[str] | None, settings: tuple[str, ...]) -> None:
    results = [path for path in traces if path.is_dir()]
    if results and (overlays or settings):
        option = "--overlay" if overlays else f"--set {settings[0]}"
        raise SpecError(f"{option}: {results[0]} is a finished result; give its trace to run it anew")
    if len(traces) * len(overlays or [OVERLAY]) < 2:
        raise SpecError(f"{traces[0]}: nothing to compare with; give another trace, or --overlay twice")


def _read(directory: Path) -> tuple[str, Mapping[str, Any]]:
    from skipopu.results.directory import read_summary

    return str(directory), read_summary(directory)


def _simulated(
    path: Path, overlays: list[str], board: str, settings: tuple[str, ...], max_cycles: int | None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    from skipopu import machine
    from skipopu.trace import read_trace

    trace = read_trace(path)
    for name in overlays:
        parts = machine(name, board, settings)
        label = f"{path.stem} on {parts[0].name}" if len(overlays) > 1 else path.stem
        yield label, run(label, trace, *parts, max_cycles).summary
