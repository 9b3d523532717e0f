"""`skipopu sim`: simulate a trace and write a result directory."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from skipopu.cli.options import (
    BOARD,
    OVERLAY,
    BoardName,
    DataflowOption,
    KvBuffer,
    KvMap,
    MaxCycles,
    OverlayName,
    Ports,
    Settings,
    TraceFile,
    with_dataflow,
    with_memory,
)
from skipopu.cli.simulation import show, timed
from skipopu.cli.terminal import say

ENGINES = ("reference",)


def sim(
    trace: TraceFile,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="The result directory.")],
    overlay: OverlayName = OVERLAY,
    board: BoardName = BOARD,
    settings: Settings = None,
    ports: Ports = None,
    kv_map: KvMap = None,
    kv_buffer: KvBuffer = None,
    dataflow: DataflowOption = None,
    engine: Annotated[str, typer.Option(help="How to step through time.")] = ENGINES[0],
    dense: Annotated[bool, typer.Option("--dense", help="Also simulate the model without skipping.")] = False,
    max_cycles: MaxCycles = None,
    json: Annotated[bool, typer.Option("--json", help="Print summary.json and nothing else.")] = False,
) -> None:
    """Simulate a trace cycle by cycle.

    Audits the run, writes a result directory and prints the headline.
    """
    from skipopu import machine
    from skipopu.program.dataflow import DATAFLOWS
    from skipopu.results.compare import title
    from skipopu.results.directory import REPORT, SUMMARY, check_writable, write_result
    from skipopu.trace import dense_like, read_trace

    _check_engine(engine)
    given = with_memory(settings, ports, kv_map, kv_buffer)
    loaded = read_trace(trace)
    if dataflow is not None:
        given, loaded = with_dataflow(given, dataflow), DATAFLOWS[dataflow].of(loaded)
    parts = machine(overlay, board, given)
    check_writable(out)
    result, speed = timed("simulating", loaded, *parts, max_cycles)
    twin = timed("simulating dense", dense_like(loaded), *parts, max_cycles)[0] if dense else None
    write_result(out, result, twin)
    if json:
        sys.stdout.write((out / SUMMARY).read_text(encoding="utf-8"))
        return
    named = [(twin, "dense")] if twin else []
    named.append((result, loaded.header.family))
    say(title(result.summary))
    show([r.summary for r, _ in named], [name for _, name in named])
    say(f"audit: {len(result.audit)} checks, none failed; {speed}")
    say(f"report: {out / REPORT}")


def _check_engine(engine: str) -> None:
    from skipopu.spec.error import SpecError

    if engine not in ENGINES:
        raise SpecError(f"--engine {engine}: is not known; expected one of {', '.join(ENGINES)}")
