"""KV append: executed K or V rows → their tokens' ports, chunk by chunk, a piece of every row in turn.

Row tiles come from the global buffer into a gear that cuts chunks; a chunk goes to its port's write FIFO, and the
burst is requested with its last chunk.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.dram import push
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.hbm_port import accept_write, can_write, request_tick, writes_pending
from skipopu.sim.machine import KvCache, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import BOUNDARY

ENGINE = 4
TAG = 2


@jit
def kv_append(m: Machine, c: KvCache) -> None:
    """One cycle: push a chunk, read a row tile; retire when every burst is acknowledged."""
    a, w, p = m.append, m.work, m.p
    instruction = begin(m, ENGINE)
    a.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    if m.work[instruction].first == m.total.now:
        a.row, a.rows = w[instruction].first_row, w[instruction].rows
        a.group = a.gear = a.sent = a.burst = 0
        _next_row(m, c, instruction)
        m.counts.traffic[w[instruction].phase, Traffic.KV_WRITE] += a.rows * p.vector_bytes
    if a.rows > 0 and _piece_bytes(m) > 0:
        a.cause = causes.ROWS
        if a.gear >= p.chunk_bytes:
            _push_chunk(m, c, instruction)
        else:
            _read_tile(m)
        return
    a.cause = causes.DRAINING
    if not writes_pending(m.ports, m.total.now):
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _read_tile(m: Machine) -> None:
    """Read a row tile if the global buffer's port is free; its chunks are there in the next cycle."""
    if m.pe.reads < 1:
        m.pe.reads += 1
        m.append.gear += m.p.tile_bytes
        m.append.cause = causes.BUSY


@jit
def _piece_bytes(m: Machine) -> int:
    """Bytes of a row's vector appended together; the last piece may be shorter, none follows it."""
    size = _full_piece(m)
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
def _push_chunk(m: Machine, c: KvCache, instruction: int) -> None:
    """Give a chunk to its port's write FIFO; the last one of a burst requests it."""
    a, w, p = m.append, m.work, m.p
    layer = w[instruction].layer
    done = a.group * _full_piece(m) + a.sent  # bytes of the vector before this chunk
    port, place = c.placement.port[layer, a.row], done
    if p.spread:
        port, place = done // p.chunk_bytes % p.ports, done // p.chunk_bytes // p.ports * p.chunk_bytes
    if not can_write(m.ports, p, port, m.total.now):
        a.cause = causes.HBM
        return
    vector = (2 * layer + w[instruction].value) * p.slots + c.placement.slot[layer, a.row]
    start = p.kv_base + vector * p.stride_bytes
    _write(m, port, start, place, done)
    a.gear -= p.chunk_bytes
    a.sent += p.chunk_bytes
    a.cause = causes.BUSY
    if a.gear < p.chunk_bytes and _more_tiles(m):
        _read_tile(m)
    if a.sent == _piece_bytes(m):
        a.sent = 0
        a.row += 1
        _next_row(m, c, instruction)


@jit
def _full_piece(m: Machine) -> int:
    """One burst, or less where heads are narrower; whole row tiles; interleaved, a part for each port."""
    p = m.p
    if p.spread:
        return p.vector_bytes  # type: ignore[no-any-return]
    return max(min(p.pair_bytes, p.burst_chunks * p.chunk_bytes), p.tile_bytes)  # type: ignore[no-any-return]


@jit
def _more_tiles(m: Machine) -> bool:
    """The piece has bytes that are not in the gear; the next row's are read once it is done."""
    return m.append.sent + m.append.gear < _piece_bytes(m)  # type: ignore[no-any-return]


@jit
def _write(m: Machine, port: int, start: int, place: int, done: int) -> None:
    """Request the burst that ends with the chunk at byte ``place`` of the vector's part in the port."""
    p = m.p
    if not _burst_ends(m, start, place, done):
        return
    first = place
    step = p.chunk_bytes * p.ports if p.spread else p.chunk_bytes
    while first > 0 and done - step >= 0 and not _burst_ends(m, start, first - p.chunk_bytes, done - step):
        first -= p.chunk_bytes
        done -= step
    beats = (place + p.chunk_bytes - first) // p.chunk_bytes * p.hbm_ratio
    accept_write(m.ports, port)
    push(m.hbm, port, start + first, beats, True, TAG, request_tick(p, m.total.now))
    m.total.hbm_wake = 0
    m.total.progress = m.total.now
    m.counts.window[Traffic.KV_WRITE] += place + p.chunk_bytes - first


@jit
def _burst_ends(m: Machine, start: int, place: int, done: int) -> bool:
    """A burst ends after 16 beats, before a 4 KiB boundary, and with the piece."""
    p = m.p
    after = place + p.chunk_bytes
    if p.spread:
        last = done + p.chunk_bytes * p.ports >= p.vector_bytes
    else:
        last = (done + p.chunk_bytes) % _full_piece(m) == 0 or done + p.chunk_bytes == p.vector_bytes
    return last or (start + after) % BOUNDARY == 0 or after // p.chunk_bytes % p.burst_chunks == 0  # type: ignore[no-any-return]
