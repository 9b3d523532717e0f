"""Tile loop: the loop nest of a matrix operation, column blocks × K-tiles × rows, as counters."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data

ROW_BITS = 13
TILE_BITS = 16

OPERATION = data.StructLayout({
    "int4": 1,  # weights are INT4, else FP16
    "rows": ROW_BITS,  # activation rows of a tile
    "depth": TILE_BITS,  # K-tiles of a column block
    "blocks": TILE_BITS,  # column blocks
})  # every bound is at least 1

ROW_REQUEST = data.StructLayout({"tile": TILE_BITS, "row": ROW_BITS})  # K-tile of the column block, row of the tile


class TileLoop:
    """Counters over an operation, advanced by one row, or by one tile, at a time.

    ``first_of_block``, ``last_row``, ``last_of_block`` and ``last`` describe the current position.
    """

    def __init__(self, m: Module, operation: Any, *, by_tile: bool = False) -> None:
        self.row = Signal(ROW_BITS, name="loop_row")
        self.tile = Signal(TILE_BITS, name="loop_tile")
        self.block = Signal(TILE_BITS, name="loop_block")
        self._by_tile, self._operation, self._m = by_tile, operation, m
        self.last_row: Value = Const(1) if by_tile else self.row == operation.rows - 1
        self.last_of_block = self.last_row & (self.tile == operation.depth - 1)
        self.last = self.last_of_block & (self.block == operation.blocks - 1)
        self.first_of_block = (self.tile == 0) & (by_tile | (self.row == 0))

    def start(self) -> None:
        """Statements: back to the first row of the first tile."""
        self._m.d.sync += [self.tile.eq(0), self.block.eq(0)]
        if not self._by_tile:
            self._m.d.sync += self.row.eq(0)

    def advance(self) -> None:
        """Statements: the next row, tile, block."""
        m = self._m
        if not self._by_tile:
            m.d.sync += self.row.eq(Mux(self.last_row, 0, self.row + 1))
        with m.If(self.last_row):
            m.d.sync += self.tile.eq(Mux(self.last_of_block, 0, self.tile + 1))
        with m.If(self.last_of_block):
            m.d.sync += self.block.eq(self.block + 1)
