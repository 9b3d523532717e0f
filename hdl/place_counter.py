"""Place counter: the tiles of a place of the global buffer in the order in which they lie in DDR4."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block
from skipopu.program.isa import WIDTH

PLACE_BITS = WIDTH["target"]


class PlaceCounter(Block):
    """Tile t of row r lies at first + t · stride + r: rows are the inner loop, tiles the outer.

    Parameters
    ----------
    None.

    Ports
    -----
    start (1), first : in, the first tile is the one from the next cycle on
    rows, stride : in, steady: rows that are moved, at least 1; rows of the block
    step (1) : in, on to the next tile
    tile : out

    Timing
    ------
    A tile a cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1), "first": In(PLACE_BITS), "rows": In(ROW_BITS), "stride": In(ROW_BITS), "step": In(1),
            "tile": Out(PLACE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Row, and where the rows of the tile begin."""
        m = Module()
        row, base = Signal(ROW_BITS, name="row"), Signal(PLACE_BITS, name="base")
        m.d.comb += self.tile.eq(base + row)
        with m.If(self.start):
            m.d.sync += [row.eq(0), base.eq(self.first)]
        with m.Elif(self.step):
            m.d.sync += row.eq(row + 1)
            with m.If(row + 1 == self.rows):
                m.d.sync += [row.eq(0), base.eq(self._next_base(base))]
        return m

    def _next_base(self, base: Value) -> Value:
        return base + self.stride
