"""A cycle of KV append in the simulator's own functions, with random grants, ports and acknowledgements round it."""

from typing import Any

from skipopu.hdl.cosim.kv_append_events import (
    ADDRESS,
    BITS,
    CAUSE,
    CHUNKS,
    LAST,
    LEAVE,
    LIST,
    MASK,
    MASK_BIT,
    MASK_ROW,
    MASK_TOKEN,
    PORT,
    READ,
    ROW,
    WRITE,
)
from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.kv_append_rows import (
    append_cause,
    append_finished,
    ask_tile,
    begin_append,
    burst_bytes,
    can_ask,
    chunk_place,
    chunk_port,
    chunk_there,
    next_chunk,
    vector_start,
)
from skipopu.sim.machine import KvCache

PROGRESS = [
    "now", "first",  # cycle; that in which the operation began, −1 before
    "restart",  # 1: a program begins
    "bursts",
]  # fmt: skip


@jit
def run_append(
    p: Any, a: Any, c: KvCache, progress: Any, operation: Any, bits: Any, stalls: Any, trace: Any, drives: Any
) -> bool:
    """Step until the operation leaves (true), or until the trace is full."""
    while progress.now < len(trace):
        now = progress.now
        offered, waits, granted, ready, pending = stalls[:, now % stalls.shape[1]]
        drives[now] = granted << 4 | ready << 5 | pending << 6
        progress.now += 1
        if progress.first < 0:
            drives[now] |= progress.restart
            trace[now, CAUSE] = causes.IDLE
            begins = offered and not progress.restart
            progress.restart = 0
            if begins:
                progress.first = now
                drives[now] |= 1 << 1
                layer, value, first, block, rows = operation[:5]
                begin_append(a, c, p, layer, value, first, block, rows)
                trace[now, CAUSE] = causes.BUSY
                _note_lists(operation, trace[now])
            elif waits:
                drives[now] |= 1 << 3
                trace[now, CAUSE] = causes.SEMAPHORE
            continue
        drives[now] |= 1 << 2
        _cycle(p, a, c, progress, bits, granted == 1, ready == 1, pending == 1, trace[now])
        _note_lists(operation, trace[now])
        if trace[now, LEAVE]:
            return True
    return False


@jit
def _note_lists(operation: Any, found: Any) -> None:
    """The gate and the mask register of which the rows are asked, and their bits."""
    gate, mask = operation[5:]
    found[LIST], found[BITS] = gate << 1 | mask, mask


@jit
def _cycle(
    p: Any, a: Any, c: KvCache, progress: Any, bits: Any, granted: bool, ready: bool, pending: bool, found: Any
) -> None:
    """A cycle as `skipopu.sim.kv_append.kv_append` steps it; note what is seen of it."""
    now = progress.now - 1
    found[READ], found[WRITE] = can_ask(a, p), chunk_there(a, p, now)
    found[LEAVE] = append_finished(a, pending)
    asks, there = found[READ] == 1 and granted, found[WRITE] == 1
    found[CAUSE] = append_cause(a, asks, there, there and ready)
    if a.marks > 0:
        row = len(bits) - a.marks
        found[MASK], found[ROW], found[MASK_BIT] = 1, row, bits[row]
        found[MASK_ROW], found[MASK_TOKEN] = a.layer, a.first + row
        a.marks -= 1
    if there:
        _note_chunk(p, a, c, found)
    if there and ready:
        progress.bursts += found[LAST]
        next_chunk(a, c, p)
    if asks:
        ask_tile(a, p, now)


@jit
def _note_chunk(p: Any, a: Any, c: KvCache, found: Any) -> None:
    start = vector_start(a, c, p)
    size = burst_bytes(a, p, start)
    found[PORT] = chunk_port(a, c, p)
    if size > 0:
        first = start + chunk_place(a, p) + p.chunk_bytes - size
        found[LAST], found[ADDRESS], found[CHUNKS] = 1, first // p.chunk_bytes, size // p.chunk_bytes
