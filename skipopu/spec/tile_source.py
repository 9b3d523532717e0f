"""Where KER takes a weight tile from."""

from enum import IntEnum


class TileSource(IntEnum):
    """The streams of the PE array; without a tile its rows pass and nothing is multiplied."""

    NO_TILE = 0
    WEIGHT = 1
    KV = 2
    CONSTANT = 3
