"""`timeline.json`: the run as Chrome trace events; open it at ui.perfetto.dev or in chrome://tracing.

One track for each engine, one slice for each instruction from its first to its last cycle of work, and a
counter track with HBM and DDR4 bandwidth over the whole run. Times are microseconds of simulated time. Slices
are kept for the prefill, the first decode steps and the last one, at most `SLICES`; the file says so itself.
"""

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.results.record import Record
from skipopu.sim.run import Ints
from skipopu.spec.ledger import Block, Traffic

DECODE_STEPS = 4  # decode steps shown from the start: enough to see the steady state
SLICES = 60_000  # about 12 MB of JSON
SAMPLES = 8_192  # counter samples; longer runs sum neighbouring windows
LANES = 64  # track numbers reserved for an engine whose instructions overlap
PROCESS = 1


def write(path: Path, record: Record) -> None:
    """Write the timeline of ``record``, one event a line, without holding it in memory."""
    shown = shown_instructions(record)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(
            f'{{"displayTimeUnit":"ns","otherData":{json.dumps(_about(record, shown))},"traceEvents":[\n'
        )
        for index, event in enumerate(_events(record, shown)):
            file.write((",\n" if index else "") + json.dumps(event, separators=(",", ":")))
        file.write("\n]}\n")


def shown_instructions(record: Record) -> Ints:
    """Return the indices of the instructions that get a slice, in program order."""
    step, last = record.run.retired.step, len(record.run.step_end) - 1
    chosen = np.flatnonzero((step < record.first_decode_step + DECODE_STEPS) | (step == last))
    return chosen[:SLICES].astype(np.int64)


def _about(record: Record, shown: Ints) -> dict[str, Any]:
    total = len(record.run.retired.step)
    rule = (
        f"slices: all of prefill, the first {DECODE_STEPS} decode steps and the last step, at most {SLICES}"
    )
    return {
        "trace_sha256": record.summary["trace"]["sha256"],
        "time": f"microseconds of simulated time at {record.summary['clock_mhz']:g} MHz",
        "shown": f"{len(shown)} of {total} instructions; {rule}; events.parquet has every instruction",
        "counters": f"whole run, a sample every {_merged(record) * record.run.window_cycles} core cycles",
    }


def _events(record: Record, shown: Ints) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": record.summary["overlay"]}}
    for block in Block:
        mine = shown[record.run.retired.engine[shown] == block]
        if mine.size:
            yield from _track(record, block, mine)
    yield from _counters(record)


def _track(record: Record, block: Block, mine: Ints) -> Iterator[dict[str, Any]]:
    """Slices of one engine; instructions that overlap in its pipeline go to a lane below."""
    retired, scale = record.run.retired, 1 / record.summary["clock_mhz"]
    free: list[tuple[int, int]] = []
    lanes = 0
    for i in mine.tolist():
        first, last, issue = int(retired.first[i]), int(retired.last[i]), int(retired.issue[i])
        if free and free[0][0] <= first:
            lane = heapq.heappop(free)[1]
        else:
            lane, lanes = lanes, lanes + 1
            yield from _lane_name(block, lane)
        heapq.heappush(free, (last + 1, lane))
        yield {
            "ph": "X",
            "pid": PROCESS,
            "tid": block * LANES + lane + 1,
            "name": record.opcodes[int(retired.opcode[i])],
            "ts": round(first * scale, 6),
            "dur": round((last + 1 - first) * scale, 6),
            "args": {
                "instruction": i,
                "step": int(retired.step[i]),
                "layer": int(retired.layer[i]),
                "first_cycle": first,
                "last_cycle": last,
                "waited_cycles": first - issue,
            },
        }


def _lane_name(block: Block, lane: int) -> Iterator[dict[str, Any]]:
    track = {"ph": "M", "pid": PROCESS, "tid": block * LANES + lane + 1}
    yield track | {"name": "thread_name", "args": {"name": block.label + (f" +{lane}" if lane else "")}}
    yield track | {"name": "thread_sort_index", "args": {"sort_index": block * LANES + lane}}


def _merged(record: Record) -> int:
    return max(1, -(-len(record.run.windows) // SAMPLES))


def _counters(record: Record) -> Iterator[dict[str, Any]]:
    run, merged = record.run, _merged(record)
    hz = record.summary["clock_mhz"] * 1e6
    for start in range(0, len(run.windows), merged):
        cycle = start * run.window_cycles
        cycles = min(merged * run.window_cycles, run.core_cycles - cycle)
        rate = run.windows[start : start + merged].sum(axis=0) * hz / max(cycles, 1) / 1e9
        yield from _sample(rate, cycle * 1e6 / hz)
    yield from _sample(np.zeros(len(Traffic)), run.core_cycles * 1e6 / hz)


def _sample(rate: NDArray[np.float64], microseconds: float) -> Iterator[dict[str, Any]]:
    """One sample of both counters; ``rate`` [Traffic] in GB/s."""
    for memory, is_hbm in (("HBM GB/s", True), ("DDR4 GB/s", False)):
        args = {kind.label: round(float(rate[kind]), 3) for kind in Traffic if kind.is_hbm is is_hbm}
        yield {"ph": "C", "pid": PROCESS, "name": memory, "ts": round(microseconds, 6), "args": args}
