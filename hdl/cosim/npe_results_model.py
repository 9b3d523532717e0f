"""When words leave the result path: the simulator's own functions of the NPE, cycle by cycle."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_results_events import ENTRY, LOGITS, OPERATION, REQUEST, RESULT, STREAMS
from skipopu.hdl.cosim.npe_results_stimulus import Operation
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.numerics.jit import jit
from skipopu.sim.machine import FAR, NPE, record
from skipopu.sim.npe import emit, next_row, statistics_row, take, takes
from skipopu.sim.scoreboard import row_free
from skipopu.spec.overlay import Overlay

TIMING = ["slot_latency", "result_latency"]
STATE = [  # of the bench: operation being taken and that of the pair, entries left of the one being taken, words left
    "operation", "pair_operation", "left", "words", "offers_operation", "offers_entry",
]  # fmt: skip
FIELDS = ["rows", "slots", "words", "head_words", "heads", "round_blocks", "distance", "route", "entries"]


def simulated_trace(
    operations: Sequence[Operation], overlay: Overlay, patterns: Mapping[str, Pattern]
) -> NDArray[np.uint8]:
    """Return the events of every cycle until the last word has left."""
    work = _work(operations, overlay)
    npe, state, timing = record(NPE), record(STATE), record(TIMING)
    npe.taken[:] = -FAR
    timing.slot_latency, timing.result_latency = overlay.slot_latency, overlay.result_latency
    state.left, state.words = work.entries[0], sum(o.row_words for o in operations)
    stalls = np.stack([patterns[name] for name in STREAMS])
    trace, length = np.zeros(1 << 16, np.uint8), 0
    while state.words:
        end = len(trace)
        trace = np.concatenate([trace, np.zeros_like(trace)])
        began = state.words
        length = _run(timing, work, npe, state, stalls, trace, length, end)
        if state.words == began:
            raise RuntimeError(f"the simulated result path has stood still for {end - length} cycles")
    return trace[: length + overlay.result_latency + 1]


def _work(operations: Sequence[Operation], overlay: Overlay) -> Any:
    work = np.zeros(len(operations), [(name, np.int64) for name in FIELDS]).view(np.recarray)
    for i, o in enumerate(operations):
        heads = 1 + o.split
        work[i] = (
            o.rows, o.slots, o.words, o.words // heads, heads, o.round_blocks,
            overlay.npe.softmax_distance if o.use.statistics else 0, o.use.route, o.blocks * o.rows * o.slots,
        )  # fmt: skip
    return work


@jit
def _run(p: Any, work: Any, npe: Any, state: Any, stalls: Any, trace: Any, start: int, end: int) -> int:
    """Step from cycle ``start`` to ``end`` or to the last word; what comes later is noted in advance."""
    for now in range(start, end):
        at = now % stalls.shape[1]
        if state.operation < len(work):
            state.offers_operation = state.offers_operation or stalls[0, at] == 1
            state.offers_entry = state.offers_entry or stalls[1, at] == 1
        if npe.full:
            _send(p, work, npe, state, stalls[2, at], trace, now)
        if state.offers_operation and state.offers_entry:
            trace[now] |= _receive(work, npe, state)
        if state.words == 0:
            return now
    return end


@jit
def _send(p: Any, work: Any, npe: Any, state: Any, ready: int, trace: Any, now: int) -> None:
    """A word of the pair leaves, if it needs no grant or has it."""
    o = work[state.pair_operation]
    if npe.final:
        row = statistics_row(npe, o.rows, o.head_words)
        if not ready or (o.distance and not row_free(npe.taken, row, now, o.distance)):
            return
        if o.distance:
            npe.taken[row] = now
        trace[now] |= REQUEST
        if not o.route:
            trace[now + p.result_latency] |= RESULT
        elif npe.word == 0:
            trace[now + p.slot_latency] |= LOGITS
        state.words -= 1
    if emit(npe):
        next_row(npe, o.rows, o.heads, o.round_blocks)
        if npe.last:
            npe.row = npe.block = npe.first = 0


@jit
def _receive(work: Any, npe: Any, state: Any) -> int:
    """An entry is taken, if there is a place for it."""
    o = work[state.operation]
    if not takes(npe, o.slots):
        return 0
    state.left -= 1
    state.offers_entry = 0
    if take(npe, o.slots, o.words):
        state.pair_operation, npe.last = state.operation, state.left == 0
    if state.left:
        return ENTRY
    state.operation += 1
    state.offers_operation = 0
    if state.operation < len(work):
        state.left = work[state.operation].entries
    return ENTRY | OPERATION
