"""Where KER takes a tile from, and which row tiles pass the NPE on their way into IFM."""

from skipopu.spec.tile_source import TileSource

NO_TILE, WEIGHT_TILE, KV_TILE, CONSTANT_TILE = map(int, TileSource)  # an enumeration is none of Numba's types
AS_IS, FIRST_BLOCK, EVERY_TILE = range(3)
