"""KER: the weight tile buffer. One half loads from its stream while the PE array works with the other."""

from skipopu.numerics.jit import jit
from skipopu.sim.hbm_port import weight_chunks
from skipopu.sim.kv_buffer import output_valid
from skipopu.sim.machine import Machine, Record
from skipopu.sim.tile_source import CONSTANT_TILE, KV_TILE, NO_TILE, WEIGHT_TILE


@jit
def ker(m: Machine) -> None:
    """One cycle: take what the stream has into the gear, complete at most one tile."""
    pe, w = m.pe, m.work
    i = pe.instruction
    if i < 0 or not half_empty(m.ker, pe, m.total.now):
        return
    source = w[i].source
    if source == NO_TILE:
        m.ker.loaded += 1
        return
    need = w[i].tile_bytes
    taken = 0
    if m.ker.gear < need:
        taken = _take(m, source, w[i].pop_bytes)
    advance(m.ker, need, taken)


@jit
def half_empty(ker: Record, pe: Record, now: int) -> bool:
    """A half can be written: the rows of the tile before have left the weights behind."""
    return (  # type: ignore[no-any-return]
        ker.loaded < pe.tiles and ker.loaded - pe.tile < 2 and ker.writable[ker.loaded & 1] <= now
    )


@jit
def advance(ker: Record, need: int, taken: int) -> None:
    """Add ``taken`` bytes to the gear; a tile of ``need`` bytes leaves it for the half."""
    ker.gear += taken
    if ker.gear >= need:
        ker.gear -= need
        ker.loaded += 1


@jit
def _take(m: Machine, source: int, size: int) -> int:
    """Pop the stream once if it has something; return the bytes."""
    if source == WEIGHT_TILE:
        if weight_chunks(m.ports, m.p, m.total.now) <= m.dma.popped:
            return 0
        m.dma.popped += 1
    elif source == KV_TILE:
        if not m.kv.active or not output_valid(m.kv, m.p):
            return 0
        m.kv.taken = 1
    else:
        assert source == CONSTANT_TILE
    return size
