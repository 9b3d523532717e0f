"""KER: the weight tile buffer. One half loads from its stream while the PE array works with the other.

Words of weights are taken whole, and what a tile leaves of them goes into a gear. Chunks of K/V and constants stay at
the output of their stream until their last tile is complete.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.hbm_port import weight_chunks
from skipopu.sim.kv_rounds import output_end, output_valid
from skipopu.sim.machine import Machine, Record
from skipopu.sim.tile_source import CONSTANT_TILE, KV_TILE, WEIGHT_TILE


@jit
def ker(m: Machine) -> None:
    """One cycle: take what the stream has for the half that is empty, complete at most one tile."""
    pe, w = m.pe, m.work
    i = pe.instruction
    if i < 0 or not half_empty(m.ker, pe, m.total.now):
        return
    if pe.source == WEIGHT_TILE:
        taken = _take_weights(m, w[i].tile_bytes, w[i].pop_bytes)
        advance(m.ker, pe, w[i].tile_bytes, taken)
    elif pe.source == KV_TILE:
        if m.kv.active and output_valid(m.kv, m.p):
            m.kv.taken = use_chunk(m.ker, pe, w[i].tile_bytes, w[i].pop_bytes, output_end(m.kv, m.p))
    elif pe.source == CONSTANT_TILE and m.total.now >= pe.began + m.p.router_weights_latency:
        use_chunk(m.ker, pe, w[i].tile_bytes, w[i].pop_bytes, False)


@jit
def half_empty(ker: Record, pe: Record, now: int) -> bool:
    """A half can be written: the rows of the tile before have left the weights behind."""
    return not ker.over and ker.loaded - pe.tile < 2 and ker.writable[ker.loaded & 1] <= now


@jit
def advance(ker: Record, pe: Record, need: int, taken: int) -> None:
    """Add ``taken`` bytes to the gear; a tile of ``need`` bytes leaves it for the half."""
    ker.gear += taken
    if ker.gear >= need:
        ker.gear -= need
        _complete(ker, pe, False)


@jit
def use_chunk(ker: Record, pe: Record, need: int, size: int, end: bool) -> bool:
    """Put into a tile what it still needs of the chunk at the stream's output; True when that is used up.

    ``end``: no chunk of the operation follows.
    """
    piece = min(need - ker.gear, size - ker.used)
    ker.gear += piece
    ker.used = (ker.used + piece) % size
    if ker.gear == need:
        ker.gear = 0
        _complete(ker, pe, end and ker.used == 0)
    return ker.used == 0  # type: ignore[no-any-return]


@jit
def _complete(ker: Record, pe: Record, end: bool) -> None:
    """The half has its tile: the last one by the loop bounds, or, of as many rounds as there are, by its chunk."""
    ker.loaded += 1
    ker.over = end if pe.dynamic else ker.loaded == pe.tiles


@jit
def _take_weights(m: Machine, need: int, size: int) -> int:
    """Pop the stream once if the gear lacks something and the stream has it; return the bytes."""
    if m.ker.gear >= need or weight_chunks(m.ports, m.p, m.total.now) <= m.dma.popped:
        return 0
    m.dma.popped += 1
    return size
