"""KV append: executed K or V rows → their tokens' ports, one burst of every row in turn."""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.dram import free_slots, push
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.machine import KvCache, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import BOUNDARY, HBM_BEAT_BYTES

ENGINE = 4
TAG = 2


@jit
def kv_append(m: Machine, c: KvCache) -> None:
    """One cycle: read a row tile, or push the collected burst; retire when every burst is acknowledged."""
    a, w, p = m.append, m.work, m.p
    instruction = begin(m, ENGINE)
    a.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    if m.work[instruction].first == m.total.now:
        a.row, a.rows = w[instruction].first_row, w[instruction].rows
        a.group = a.tile = a.sent = a.waiting = 0
        _next_row(m, c, instruction)
        m.counts.traffic[w[instruction].phase, Traffic.KV_WRITE] += a.rows * p.vector_bytes
    if a.rows > 0 and _piece_bytes(m) > 0:
        if a.waiting == 0:
            a.cause = causes.ROWS
            if m.pe.reads < 1:
                m.pe.reads += 1
                a.tile += p.tile_bytes
                a.waiting = 1 if a.tile >= _piece_bytes(m) else 0
                a.cause = causes.BUSY
        if a.waiting:
            _push(m, c, instruction)
        return
    a.cause = causes.DRAINING
    if _acknowledged(m):
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _burst_bytes(m: Machine) -> int:
    return min(m.p.pair_bytes, m.p.burst_chunks * m.p.chunk_bytes)  # type: ignore[no-any-return]


@jit
def _piece_bytes(m: Machine) -> int:
    """Bytes of a row's vector appended together; the last piece may be shorter, none follows it."""
    size = _burst_bytes(m)
    return min(size, m.p.vector_bytes - m.append.group * size)  # type: ignore[no-any-return]


@jit
def _next_row(m: Machine, c: KvCache, instruction: int) -> None:
    """Move to the next executed token of the block; after the last one, to the next piece of the vectors."""
    a, w = m.append, m.work
    layer, first = w[instruction].layer, w[instruction].first_row
    end = first + w[instruction].block_rows
    while a.rows > 0:
        if a.row == end:
            a.row = first
            a.group += 1
        if c.placement.source[layer, a.row] == layer:
            return
        a.row += 1


@jit
def _push(m: Machine, c: KvCache, instruction: int) -> None:
    a, w, p = m.append, m.work, m.p
    layer = w[instruction].layer
    port = c.placement.port[layer, a.row]
    if free_slots(m.hbm, port) == 0:
        a.cause = causes.HBM
        return
    vector = (2 * layer + w[instruction].value) * p.slots + c.placement.slot[layer, a.row]
    address = p.kv_base + vector * p.vector_bytes + a.group * _burst_bytes(m) + a.sent
    size = min(_piece_bytes(m) - a.sent, BOUNDARY - address % BOUNDARY)
    push(m.hbm, port, address, size // HBM_BEAT_BYTES, True, TAG, m.total.now * p.hbm_ratio)
    m.total.hbm_wake = 0
    m.total.progress = m.total.now
    window = m.counts.window
    window[Traffic.KV_WRITE] += size
    a.bursts += 1
    a.tile -= size
    a.sent += size
    a.cause = causes.BUSY
    if a.sent == _piece_bytes(m):
        a.sent = 0
        a.row += 1
        _next_row(m, c, instruction)
        a.waiting = 1 if a.tile >= _piece_bytes(m) else 0


@jit
def _acknowledged(m: Machine) -> bool:
    total = 0
    for port in range(m.p.ports):
        total += m.hbm.channels[port].write_responses
    return total == m.append.bursts  # type: ignore[no-any-return]
