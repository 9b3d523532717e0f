"""Word gather: row tiles in, words for DDR4 out, the last one of a transfer filled up with zeros."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from skipopu.hdl.ddr_ports import WORD_BYTES
from skipopu.hdl.verilog import Block


class WordGather(Block):
    """Put row tiles together to words; a tile as wide as a word, or wider, goes straight through.

    Parameters
    ----------
    tile_bytes : a power of two

    Ports
    -----
    valid (1), tile, last (1) : in, a tile; the last one of a transfer
    row_valid (1), row : out, a word, or all words of a wide tile

    Timing
    ------
    A row in the cycle of its last tile.
    """

    def __init__(self, *, tile_bytes: int) -> None:
        self._tile, self._row = tile_bytes * 8, max(tile_bytes, WORD_BYTES) * 8
        super().__init__({
            "valid": In(1), "tile": In(self._tile), "last": In(1), "row_valid": Out(1), "row": Out(self._row),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Tiles of a word that is not whole, and how many there are."""
        m = Module()
        parts = self._row // self._tile
        if parts == 1:
            m.d.comb += [self.row_valid.eq(self.valid), self.row.eq(self.tile)]
            return m
        place, held = Signal(range(parts), name="place"), Signal(self._row - self._tile, name="held")
        before = [*(held.word_select(part, self._tile) for part in range(parts - 1)), Const(0, self._tile)]
        joined = Cat(*(Mux(place == part, self.tile, each) for part, each in enumerate(before)))
        m.d.comb += [self.row_valid.eq(self.valid & ((place == parts - 1) | self.last)), self.row.eq(joined)]
        with m.If(self.row_valid):
            m.d.sync += [place.eq(0), held.eq(0)]
        with m.Elif(self.valid):
            m.d.sync += [place.eq(place + 1), held.eq(joined)]
        return m
