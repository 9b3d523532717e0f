"""Rows of KV append: what is read of them, and where their chunks go; as `skipopu.hdl.kv_append` builds it.

Row tiles are asked of the global buffer ahead, as far as there is room for them. A piece of every executed row goes in
turn, chunk by chunk; a burst ends with its piece at the latest. Beside that K marks the block's rows in the bitmask,
one a cycle.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.machine import TILES_AHEAD, KvCache, Record
from skipopu.spec.overlay import BLOCK_RAM_WRITE, BOUNDARY


@jit
def begin_append(
    a: Record, c: KvCache, p: Record, layer: int, value: int, first: int, block_rows: int, rows: int
) -> None:
    """Take an operation: ``rows`` of the block's tokens [first, first + block_rows) execute."""
    a.layer, a.value, a.first, a.end = layer, value, first, first + block_rows
    a.tiles = rows * (_row_bytes(p) // p.tile_bytes)
    a.chunks = rows * (_row_bytes(p) // p.chunk_bytes)
    a.asked = a.pushed = a.group = a.sent = 0
    a.marks = 0 if value else block_rows
    a.row = first
    if rows > 0:
        _find_row(a, c)


@jit
def can_ask(a: Record, p: Record) -> bool:
    """A tile is left to be read, and there is room for it, as known from the cycle before."""
    freed = a.pushed * p.chunk_bytes // p.tile_bytes
    return a.asked < a.tiles and a.asked - freed < p.append_tiles  # type: ignore[no-any-return]


@jit
def ask_tile(a: Record, p: Record, now: int) -> None:
    """The global buffer reads the next tile in ``now``."""
    a.usable[a.asked % TILES_AHEAD] = now + p.read_stages + BLOCK_RAM_WRITE
    a.asked += 1


@jit
def chunk_there(a: Record, p: Record, now: int) -> bool:
    """All tiles of the next chunk are there."""
    last = ((a.pushed + 1) * p.chunk_bytes - 1) // p.tile_bytes
    return a.pushed < a.chunks and last < a.asked and a.usable[last % TILES_AHEAD] <= now  # type: ignore[no-any-return]


@jit
def chunk_port(a: Record, c: KvCache, p: Record) -> int:
    """HBM port of the next chunk."""
    if p.spread:
        return _done(a, p) // p.chunk_bytes % p.ports  # type: ignore[no-any-return]
    return c.placement.port[a.layer, a.row]  # type: ignore[no-any-return]


@jit
def chunk_place(a: Record, p: Record) -> int:
    """Bytes of the vector that lie before the next chunk in its port."""
    done = _done(a, p)
    return done // p.chunk_bytes // p.ports * p.chunk_bytes if p.spread else done


@jit
def vector_start(a: Record, c: KvCache, p: Record) -> int:
    """Byte address of the row's vector in its port."""
    vector = (2 * a.layer + a.value) * p.slots + c.placement.slot[a.layer, a.row]
    return p.kv_base + vector * p.stride_bytes  # type: ignore[no-any-return]


@jit
def burst_bytes(a: Record, p: Record, start: int) -> int:
    """Bytes of the burst that ends with the next chunk, 0 if none does; ``start`` is the vector's address."""
    place, done = chunk_place(a, p), _done(a, p)
    if not _burst_ends(p, start, place, done):
        return 0
    first, step = place, p.chunk_bytes * p.ports if p.spread else p.chunk_bytes
    while first > 0 and done >= step and not _burst_ends(p, start, first - p.chunk_bytes, done - step):
        first -= p.chunk_bytes
        done -= step
    return place + p.chunk_bytes - first  # type: ignore[no-any-return]


@jit
def next_chunk(a: Record, c: KvCache, p: Record) -> None:
    """Go on to the next chunk of the piece, to the next row, to the next piece of the vectors."""
    a.pushed += 1
    a.sent += p.chunk_bytes
    if a.sent == min(_full_piece(p), p.vector_bytes - a.group * _full_piece(p)):
        a.sent = 0
        a.row += 1
        _find_row(a, c)


@jit
def append_finished(a: Record, pending: bool) -> bool:
    """All is written, the last bit of the bitmask with this cycle, and ``pending`` says whether HBM has it."""
    return a.pushed == a.chunks and a.marks <= 1 and not pending


@jit
def append_cause(a: Record, asks: bool, there: bool, taken: bool) -> int:
    """What a cycle of a running operation is for: a tile is read, a chunk is there, its port takes it."""
    if taken:
        return causes.BUSY
    if there:
        return causes.HBM
    if asks:
        return causes.BUSY
    if a.pushed < a.chunks:
        return causes.ROWS
    return causes.BUSY if a.marks > 0 else causes.DRAINING


@jit
def _row_bytes(p: Record) -> int:
    """Bytes of a row, which are those of its vector."""
    return p.vector_bytes  # type: ignore[no-any-return]


@jit
def _done(a: Record, p: Record) -> int:
    """Bytes of the row's vector before the next chunk."""
    return a.group * _full_piece(p) + a.sent  # type: ignore[no-any-return]


@jit
def _full_piece(p: Record) -> int:
    """Bytes of a row appended together: a burst, or less where heads are narrower; whole row tiles.

    Interleaved, the whole vector; the last piece may be shorter.
    """
    if p.spread:
        return p.vector_bytes  # type: ignore[no-any-return]
    return max(min(p.pair_bytes, p.burst_chunks * p.chunk_bytes), p.tile_bytes)  # type: ignore[no-any-return]


@jit
def _find_row(a: Record, c: KvCache) -> None:
    """Move on to an executed token of the block; after the last one, to the next piece of the vectors."""
    while True:
        if a.row == a.end:
            a.row = a.first
            a.group += 1
        if c.placement.source[a.layer, a.row] == a.layer:
            return
        a.row += 1


@jit
def _burst_ends(p: Record, start: int, place: int, done: int) -> bool:
    """A burst ends after 16 beats, before a 4 KiB boundary, and with the piece."""
    after = place + p.chunk_bytes
    if p.spread:
        last = done + p.chunk_bytes * p.ports >= p.vector_bytes
    else:
        last = (done + p.chunk_bytes) % _full_piece(p) == 0 or done + p.chunk_bytes == p.vector_bytes
    return last or (start + after) % BOUNDARY == 0 or after // p.chunk_bytes % p.burst_chunks == 0  # type: ignore[no-any-return]
