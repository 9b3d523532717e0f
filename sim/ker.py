"""KER: the weight tile buffer. One half loads from its stream while the PE array works with the other."""

from skipopu.numerics.jit import jit
from skipopu.sim.dma import weight_chunks
from skipopu.sim.kv_buffer import pop_round, round_ready
from skipopu.sim.machine import KvCache, Machine
from skipopu.sim.work import CONSTANT_TILE, KV_TILE, NO_TILE, WEIGHT_TILE


@jit
def tile_size(m: Machine, instruction: int, tile: int) -> int:
    """Bytes of the tile: the last column block may be narrower."""
    w = m.work
    last = tile >= (w[instruction].blocks - 1) * w[instruction].depth
    return w[instruction].last_tile_bytes if last else w[instruction].tile_bytes  # type: ignore[no-any-return]


@jit
def ker(m: Machine, c: KvCache) -> None:
    """One cycle: take what the stream has into the gear, complete at most one tile."""
    pe, w = m.pe, m.work
    i = pe.instruction
    if i < 0 or pe.loaded == pe.tiles or pe.loaded - pe.tile == 2:
        return
    source = w[i].source
    if source == NO_TILE:
        pe.loaded += 1
        return
    need = tile_size(m, i, pe.loaded)
    if pe.gear < need:
        _take(m, c, source, w[i].pop_bytes)
    if pe.gear >= need:
        pe.gear -= need
        pe.loaded += 1


@jit
def _take(m: Machine, c: KvCache, source: int, size: int) -> None:
    if source == WEIGHT_TILE:
        if weight_chunks(m) <= m.dma.popped:
            return
        m.dma.popped += 1
    elif source == KV_TILE:
        if not round_ready(m, c):
            return
        pop_round(m, c)
    else:
        assert source == CONSTANT_TILE
    m.pe.gear += size
