"""Tile loop: the loop nest of a matrix operation, column blocks × K-tiles × rows, as counters."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data

from skipopu.spec.tile_source import TileSource

ROW_BITS = 13
TILE_BITS = 16
SLOT_BITS = 5  # of a number up to the bound of psum.interleave
COLUMN_BITS = 11  # up to that of pe_array.columns

# every bound is at least 1
OPERATION = data.StructLayout({
    "source": 2,  # `TileSource`
    "value": 1,  # of K/V tiles: V, else K, of as many rounds as are announced
    "int4": 1,  # weights are INT4, else FP16
    "rows": ROW_BITS,  # activation rows of a tile
    "depth": TILE_BITS,  # K-tiles of a column block
    "blocks": TILE_BITS,  # column blocks; of K in a round; 1 without tiles
    "turns": TILE_BITS,  # K-tiles between two of the same sums: of V the tiles of a round, else 1
    "slots": SLOT_BITS,  # entries of a row in PSUM: K-tiles of a sum, psum.interleave at most
    "width": COLUMN_BITS,  # columns of a V tile, or of router weights: logits
})  # fmt: skip

ROW_REQUEST = data.StructLayout({"tile": TILE_BITS, "row": ROW_BITS})  # K-tile of the column block, row of the tile


def takes(operation: Any, source: TileSource) -> Value:
    """The operation's tiles come from ``source``."""
    found: Value = operation.source == source
    return found


def multiplies(operation: Any) -> Value:
    """The operation's rows meet weights; else they only pass."""
    return ~takes(operation, TileSource.NO_TILE)


def takes_keys(operation: Any) -> Value:
    """Tiles of K: rounds come as announced, and rows of two heads where they are packed."""
    return takes(operation, TileSource.KV) & ~operation.value


class TileLoop:
    """Counters over an operation, advanced by one row, or by one tile, at a time.

    ``first`` (of all, or of a round), ``first_of_block``, ``last_row``, ``last_of_block`` and ``last`` describe the
    current position. With ``one_block`` there are no column blocks, and ``last`` is the last of any block.
    """

    def __init__(self, m: Module, operation: Any, *, by_tile: bool = False, one_block: bool = False) -> None:
        self.row = Signal(ROW_BITS, name="loop_row")
        self.tile = Signal(TILE_BITS, name="loop_tile")
        self.block = Const(0) if one_block else Signal(TILE_BITS, name="loop_block")
        self._by_tile, self._one_block, self._operation, self._m = by_tile, one_block, operation, m
        self.last_row: Value = Const(1) if by_tile else self.row == operation.rows - 1
        self.last_of_block = self.last_row & (self.tile == operation.depth - 1)
        self.last = self.last_of_block & (one_block | (self.block == operation.blocks - 1))
        self.first_of_block = (self.tile == 0) & (by_tile | (self.row == 0))
        self.first = self.first_of_block & (self.block == 0)

    def start(self) -> None:
        """Statements: back to the first row of the first tile."""
        counters = [self.tile] if self._by_tile else [self.tile, self.row]
        self._m.d.sync += [counter.eq(0) for counter in counters]
        if not self._one_block:
            self._m.d.sync += self.block.eq(0)

    def advance(self) -> None:
        """Statements: the next row, tile, block; from the last back to the first."""
        m = self._m
        if not self._by_tile:
            m.d.sync += self.row.eq(Mux(self.last_row, 0, self.row + 1))
        with m.If(self.last_row):
            m.d.sync += self.tile.eq(Mux(self.last_of_block, 0, self.tile + 1))
        if not self._one_block:
            with m.If(self.last_of_block):
                m.d.sync += self.block.eq(Mux(self.last, 0, self.block + 1))
