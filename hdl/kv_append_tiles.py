"""KV append tiles: which row tile of the global buffer is read next."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.kv_append_layout import TILES_BITS, AppendShape, piece_tiles
from skipopu.hdl.kv_layout import index
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block


class KvAppendTiles(Block):
    """A piece of every executed row, then the next piece of every row, in the order in which vectors are stored.

    V, and K of single heads, lie as the tiles do: head by head. K of packed heads is stored as the array eats it: a
    tile of one head of a pair, then that of the other.

    Parameters
    ----------
    shape : sizes of KV append

    Ports
    -----
    head : in, APPEND_KV, steady from ``start`` on
    start, executed : in, first cycle of an operation; rows that execute
    valid, address : out, a tile is left to be read, and where it is
    taken : in, go on to the next tile

    Timing
    ------
    The first address in the cycle after ``start``, then one a cycle.
    """

    def __init__(self, *, shape: AppendShape) -> None:
        self._shape = shape
        super().__init__({
            "head": In(INSTRUCTION), "start": In(1), "executed": In(ROW_BITS),
            "valid": Out(1), "address": Out(index(shape.tiles)), "taken": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Row, tile of the piece, and where that tile's rows begin."""
        m = Module()
        left, tile = Signal(TILES_BITS, name="left"), Signal(TILES_BITS, name="tile_of_piece")
        piece, row = Signal(TILES_BITS, name="piece"), Signal(ROW_BITS, name="row")
        last_tile, last_row = Signal(name="last_tile"), Signal(name="last_row")
        full = piece_tiles(self._shape, self.head)
        m.d.comb += [
            piece.eq(Mux(left < full, left, full)), last_tile.eq(tile == piece - 1),
            last_row.eq(row == self.executed - 1), self.valid.eq(left.any()),
            self.address.eq(self._lines(m, last_tile, last_row) + row),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [left.eq(Mux(self.executed.any(), self.head.k_tiles, 0)), tile.eq(0), row.eq(0)]
        with m.Elif(self.taken):
            m.d.sync += tile.eq(Mux(last_tile, 0, tile + 1))
            with m.If(last_tile):
                m.d.sync += row.eq(Mux(last_row, 0, row + 1))
            with m.If(last_tile & last_row):
                m.d.sync += left.eq(left - piece)
        return m

    def _lines(self, m: Module, last_tile: Signal, last_row: Signal) -> Signal:
        """Where row 0 of the tile lies; every row of a piece begins with the piece's first tile."""
        now, begin = self._position(""), self._position("piece_")
        after = self._after(m, *now)
        for register, saved, following, origin in zip(now, begin, after, (self.head.source, 0, 0), strict=True):
            with m.If(self.start):
                m.d.sync += [register.eq(origin), saved.eq(origin)]
            with m.Elif(self.taken):
                m.d.sync += register.eq(Mux(last_tile & ~last_row, saved, following))
                with m.If(last_tile & last_row):
                    m.d.sync += saved.eq(following)
        return now[0]

    def _position(self, prefix: str) -> tuple[Signal, Signal, Signal]:
        """Row 0 of a tile; whether it is of the second head of its pair; its number in the head."""
        line, second = Signal(index(self._shape.tiles), name=f"{prefix}line"), Signal(name=f"{prefix}second")
        return line, second, Signal(TILES_BITS, name=f"{prefix}tile_of_head")

    def _after(self, m: Module, line: Signal, second: Signal, tile: Signal) -> tuple[Value, Value, Value]:
        """The position of the tile that is stored next."""
        rows, head_lines = self.head.rows, Signal.like(line, name="head_lines")
        m.d.sync += head_lines.eq(rows * self.head.columns[:TILES_BITS])
        by_turns, last = self._by_turns(), tile == self.head.columns - 1
        other = Mux(second, Mux(last, line + rows, line + rows - head_lines), line + head_lines)
        return (
            Mux(by_turns, other, line + rows), by_turns & ~second, Mux(by_turns & second, Mux(last, 0, tile + 1), tile)
        )  # fmt: skip

    def _by_turns(self) -> Value:
        """Tiles of both heads of a pair alternate."""
        return ~self.head.value & int(self._shape.packed)
