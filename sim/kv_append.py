"""KV append: executed K or V rows → their tokens' ports; the engine round `kv_append_rows`.

A chunk goes to its port's write FIFO, and the burst is requested with its last chunk.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.dram import push
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.global_buffer import can_read, read
from skipopu.sim.hbm_port import accept_write, can_write, request_tick, writes_pending
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
from skipopu.sim.machine import KvCache, Machine
from skipopu.spec.ledger import Traffic

ENGINE = 4
TAG = 2


@jit
def kv_append(m: Machine, c: KvCache) -> None:
    """One cycle of the engine; it retires when every burst is acknowledged."""
    a, now = m.append, m.total.now
    instruction = begin(m, ENGINE)
    a.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    if m.work[instruction].first == now:
        _start(m, c, instruction)
        return
    if append_finished(a, writes_pending(m.ports, now)):
        a.cause = append_cause(a, False, False, False)
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)
        return
    asks, there = can_ask(a, m.p) and can_read(m, 1), chunk_there(a, m.p, now)
    taken = there and can_write(m.ports, m.p, chunk_port(a, c, m.p), now)
    a.cause = append_cause(a, asks, there, taken)
    a.marks -= a.marks > 0
    if taken:
        _push_chunk(m, c)
    if asks:
        read(m, 1)
        ask_tile(a, m.p, now)


@jit
def _start(m: Machine, c: KvCache, instruction: int) -> None:
    w, p = m.work, m.p
    rows, block = w[instruction].rows, w[instruction].block_rows
    begin_append(m.append, c, p, w[instruction].layer, w[instruction].value, w[instruction].tokens - block, block, rows)
    m.counts.traffic[w[instruction].phase, Traffic.KV_WRITE] += rows * p.vector_bytes
    m.append.cause = causes.BUSY


@jit
def _push_chunk(m: Machine, c: KvCache) -> None:
    """Give a chunk to its port's write FIFO; the last one of a burst requests it."""
    a, p, now = m.append, m.p, m.total.now
    start = vector_start(a, c, p)
    size = burst_bytes(a, p, start)
    if size > 0:
        port, first = chunk_port(a, c, p), start + chunk_place(a, p) + p.chunk_bytes - size
        accept_write(m.ports, port)
        push(m.hbm, port, first, size // p.chunk_bytes * p.hbm_ratio, True, TAG, request_tick(p, now))
        m.total.hbm_wake = 0
        m.total.progress = now
        m.counts.window[Traffic.KV_WRITE] += size
    next_chunk(a, c, p)
