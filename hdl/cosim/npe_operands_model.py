"""When the operand side moves: the simulator's own rules for a request, and the latencies of `spec`."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_operands_events import (
    INVERSE,
    MAXIMUM,
    READ,
    REQUEST,
    ROW,
    SQUARES,
    STREAMS,
    TOTAL,
    WRITE_BACK,
)
from skipopu.hdl.cosim.npe_operands_stimulus import Operation
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.hdl.npe.operand_operation import Mode, Statistics
from skipopu.numerics.jit import jit
from skipopu.sim.ifm import note_request, passes_lanes, request_row, statistics_free, written_back
from skipopu.sim.machine import FAR, IFM, record
from skipopu.sim.tile_source import AS_IS, EVERY_TILE, FIRST_BLOCK
from skipopu.spec.overlay import Overlay

WORK = np.dtype([
    (name, "i8") for name in (
        "requests", "block_tiles", "operand", "distance", "statistics_rows",
        "latency",  # from a request to its row at IFM
        "until_read",  # from a request until the statistics can be read with it, for their address
        "reads",  # the operation whose statistics are read, −1 without
    )
])  # fmt: skip


class Trace(NamedTuple):
    """Cycles of what the operand side does."""

    events: NDArray[np.uint8]  # [cycle]
    starts: NDArray[np.int64]  # [operation]
    requests: NDArray[np.int64]  # [request]: when it is granted


def simulated_trace(operations: Sequence[Operation], overlay: Overlay, patterns: Mapping[str, Pattern]) -> Trace:
    """Events of every cycle until the last thing that the last operation starts has happened."""
    work = np.array([_work(o, overlay) for o in operations], WORK)
    starts, requests = np.zeros(len(work), np.int64), np.zeros(work["requests"].sum(), np.int64)
    stalls, ifm = np.stack([patterns[name] for name in STREAMS]), record(IFM)
    ifm.taken[:] = -FAR
    _run(work, ifm, stalls, overlay.global_buffer.read_stages, np.zeros(len(work), np.int64), starts, requests)
    return Trace(_events(operations, overlay, requests), starts, requests)


def _work(o: Operation, overlay: Overlay) -> tuple[int, ...]:
    n, stages, rows = overlay.npe, overlay.global_buffer.read_stages, o.rows.tiles.shape[1]
    operand = AS_IS if o.mode == Mode.AS_IS else FIRST_BLOCK if o.first_block_only else EVERY_TILE
    distance = {Statistics.NONE: 0, Statistics.SUMS: n.sum_distance, Statistics.SCORES: n.softmax_distance}
    until_read = {Statistics.NONE: 0, Statistics.SUMS: n.inverse_latency, Statistics.SCORES: n.statistics_latency}
    return (
        o.requests, o.depth * rows, operand, distance[o.statistics], rows * o.rows.heads,
        stages + (0 if o.mode == Mode.AS_IS else n.operand_latency), stages + until_read[o.statistics], o.reads,
    )  # fmt: skip


@jit
def _run(work: Any, ifm: Any, stalls: Any, read_stages: int, readable: Any, starts: Any, requests: Any) -> None:
    """Operation after operation; ``readable`` [operation]: first cycle for an address of its statistics."""
    length, now, first, fence = stalls.shape[1], 0, 0, 0
    for i in range(len(work)):
        w = work[i]
        if w.reads >= 0:  # its first row comes ``read_stages`` after the first request, the address a cycle before
            now = max(now, readable[w.reads] - read_stages)
        if w.distance > 0:
            now = max(now, fence)
        while stalls[0, now % length] == 0:
            now += 1
        starts[i] = now
        last = _requests(w, ifm, stalls, now + 1, requests[first : first + w.requests])
        first += w.requests
        if w.distance > 0:
            readable[i] = fence = last + w.until_read
        now = last + w.latency


@jit
def _requests(w: Any, ifm: Any, stalls: Any, now: int, granted: Any) -> int:
    """All requests of an operation, none before ``now``; return the cycle of the last one."""
    ifm.requested = 0
    for k in range(w.requests):
        offered = False
        while True:
            at = now % stalls.shape[1]
            offered = offered or stalls[1, at] == 1
            if offered and stalls[2, at] == 1 and _free(w, ifm, now):
                break
            now += 1
        passes = passes_lanes(ifm, w.operand, w.block_tiles)
        note_request(ifm, passes, w.distance, w.statistics_rows, now, w.latency)
        request_row(ifm, now, w.latency)
        granted[k] = now
        now += 1
    return now - 1


@jit
def _free(w: Any, ifm: Any, now: int) -> bool:
    """Neither a row's statistics nor a tile to be written back stands in the way, as `sim.ifm.ifm` has it."""
    passes = passes_lanes(ifm, w.operand, w.block_tiles)
    if not passes and w.operand == FIRST_BLOCK and not written_back(ifm, now):
        return False
    return statistics_free(ifm, w.distance, w.statistics_rows, now)


def _events(operations: Sequence[Operation], overlay: Overlay, requests: NDArray[np.int64]) -> NDArray[np.uint8]:
    n, stages = overlay.npe, overlay.global_buffer.read_stages
    events = np.zeros(requests[-1] + stages + n.operand_latency + n.inverse_latency + 1, np.uint8)
    first = 0
    for o in operations:
        granted = requests[first : first + o.requests]
        first += o.requests
        out = granted + stages + (0 if o.mode == Mode.AS_IS else n.operand_latency)
        events[granted] |= REQUEST | READ
        events[out] |= ROW
        if o.write_back:
            events[out[: o.changed]] |= WRITE_BACK
        if o.statistics == Statistics.SCORES:
            events[granted + stages + n.maximum_stages] |= MAXIMUM
            events[granted + stages + n.statistics_latency - 1] |= TOTAL
        elif o.statistics == Statistics.SUMS:
            rows = o.rows.tiles.shape[1]
            events[granted + stages + n.statistics_latency - 1] |= SQUARES
            events[granted[-rows:] + stages + n.inverse_latency] |= INVERSE
    return events
