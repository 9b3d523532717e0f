"""Operand operation: what the NPE does to the row tiles of a matrix operation on their way into IFM."""

from enum import IntEnum

from amaranth.lib import data

from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS


class Mode(IntEnum):
    """What becomes of a tile."""

    AS_IS = 0
    NORMALIZE = 1
    PROBABILITY = 2


class Statistics(IntEnum):
    """Which statistics of its row a tile is taken into."""

    NONE = 0
    SUMS = 1
    SCORES = 2


OPERAND_OPERATION = data.StructLayout({
    "mode": 2,  # `Mode`
    "first_block_only": 1,  # later column blocks read what was written back
    "write_back": 1,  # changed tiles go back to the global buffer
    "statistics": 2,  # `Statistics`
    "rows": ROW_BITS,  # loop bounds, as in `tile_loop.OPERATION`
    "depth": TILE_BITS,
    "heads": TILE_BITS,  # of scores: K-tiles take turns between so many heads, depth is a multiple of heads · parts
    "parts": TILE_BITS,  # of scores: K-tiles in a row of one head; they are the same scores, for parts of V
    "bank": 1,  # of the scores' statistics, taken or read
})  # every bound is at least 1
