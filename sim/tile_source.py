"""Where KER takes a tile from, and which row tiles pass the NPE on their way into IFM."""

NO_TILE, WEIGHT_TILE, KV_TILE, CONSTANT_TILE = range(4)
AS_IS, FIRST_BLOCK, EVERY_TILE = range(3)
