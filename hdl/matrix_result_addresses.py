"""Result addresses: where words of results go in the global buffer, and where their scales lie in the constants."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.matrix_layout import granules, result_loops, tile_address, word_address
from skipopu.hdl.npe.result_operation import head_words, most_words
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.hdl.verilog import Block
from skipopu.program.isa import WIDTH
from skipopu.spec.overlay import Overlay


class ResultAddresses(Block):
    """Counters and base addresses over the words of results of a matrix operation.

    A word lies in tile target + base + offset + row. Offset and granule, the place in that tile, follow the columns:
    from word to word, from column block to column block, and back to the block's first for every row.

    Parameters
    ----------
    overlay : pe_array, npe.lanes, global_buffer.tiles, constants.half_bytes

    Ports
    -----
    loops : in, `result_loops` of the operation whose words go, steady until the last one has gone
    goes, last (1) : in, the current word goes, and is the operation's last
    listed : in, row of the block that it belongs to · position : out, its row among the executed ones
    address, granule : out, its tile, its place there · residual : out, tile of what is added to it
    inside (1) : out, it is written · begins_tile (1) : out, it is the first one of a tile of scores
    scale, bias : out, places of its scales and biases
    block_done (1) : out, it is the last one of its column block

    Timing
    ------
    Combinational from registers; the next word's the cycle after ``goes``. The first word of an operation finds them
    as reset or the last word of the one before left them.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._place, word, self._granules = tile_address(overlay), word_address(overlay), granules(overlay)
        self._head_words, self._words = head_words(overlay), most_words(overlay)
        self._column = data.StructLayout({
            "offset": self._place, "tile": TILE_BITS, "granule": range(self._granules), "word": word,
        })  # fmt: skip
        super().__init__({
            "loops": In(result_loops(overlay)), "goes": In(1), "last": In(1),
            "listed": In(ROW_BITS), "position": Out(ROW_BITS),
            "address": Out(self._place), "granule": Out(range(self._granules)), "residual": Out(self._place),
            "inside": Out(1), "begins_tile": Out(1), "scale": Out(word), "bias": Out(word), "block_done": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Where the columns are, where the rows are."""
        m = Module()
        loops = self.loops
        word, member = Signal(range(self._words), name="word"), Signal(WIDTH["group"], name="member")
        word_last = named(m, word == loops.words - 1, "word_last")
        row_last = named(m, word_last & (self.position == loops.rows - 1), "row_last")
        m.d.comb += self.block_done.eq(row_last & (member == loops.members - 1))
        head_stride = named(m, self._head_distance(), "head_stride", self._place)
        column, base, done = self._columns(m, word, word_last, head_stride)
        self._rows(m, member, row_last, base, done, head_stride)
        with m.If(self.goes):
            m.d.sync += word.eq(Mux(word_last, 0, word + 1))
            with m.If(word_last):
                m.d.sync += self.position.eq(Mux(row_last, 0, self.position + 1))
            with m.If(row_last):
                m.d.sync += member.eq(Mux(self.block_done, 0, member + 1))
        self._places(m, column, base)
        return m

    def _head_distance(self) -> Value:
        """Of one key/value head to the next."""
        return self.loops.member_stride * self.loops.members

    def _columns(self, m: Module, word: Value, word_last: Value, head_stride: Value) -> tuple[Any, Signal, Value]:
        """Places of the current columns; the base of their member; whether the last of the parts is over."""
        column, first, following = (Signal(self._column, name=n) for n in ("column", "first_column", "next_column"))
        part = Signal(TILE_BITS, name="part")
        done = named(m, self.block_done & (part == self.loops.parts - 1), "parts_done")
        self._follow(m, column, following)
        with m.If(self.goes):
            m.d.sync += column.eq(following)
            with m.If(self.loops.split & (word == self._head_words - 1)):
                m.d.sync += [column.eq(0), column.offset.eq(head_stride)]
            with m.If(word_last):
                m.d.sync += column.eq(first)
            with m.If(self.block_done):
                m.d.sync += [column.eq(following), first.eq(following), part.eq(part + 1)]
            with m.If(done | self.last):
                m.d.sync += [column.eq(0), first.eq(0), part.eq(0)]
        return column, Signal(self._place, name="member_base"), done

    def _follow(self, m: Module, column: Any, following: Any) -> None:
        """The columns of the next word, or of the half of one that a pair of columns leaves."""
        step = Mux(self.loops.half_words, 1, 2)
        granule = named(m, column.granule + step, "next_granule", range(2 * self._granules))
        carry = named(m, granule >= self._granules, "next_tile")
        m.d.comb += [
            following.granule.eq(granule), following.tile.eq(column.tile + carry), following.word.eq(column.word + 1),
            following.offset.eq(column.offset + Mux(carry, self.loops.tile_stride, 0)),
        ]  # fmt: skip

    def _rows(self, m: Module, member: Value, row_last: Value, base: Signal, done: Value, head_stride: Value) -> None:
        """The base of the member; that of the head, where it begins again for the next columns of a head."""
        head = Signal(self._place, name="head_base")
        next_head = named(m, head + Mux(self.loops.split, head_stride << 1, head_stride), "next_head", self._place)
        with m.If(self.goes):
            with m.If(row_last):
                m.d.sync += base.eq(base + self.loops.member_stride)
            with m.If(self.block_done):
                m.d.sync += base.eq(head)
            with m.If(done):
                m.d.sync += [base.eq(next_head), head.eq(next_head)]
            with m.If(self.last):
                m.d.sync += [base.eq(0), head.eq(0)]

    def _places(self, m: Module, column: Any, base: Value) -> None:
        loops = self.loops
        m.d.comb += [
            self.address.eq(loops.target + base + column.offset + Mux(loops.by_list, self.listed, self.position)),
            self.granule.eq(column.granule), self.residual.eq(self.address + loops.residual_offset),
            self.inside.eq(loops.writes & self._has_column(column)),
            self.begins_tile.eq(loops.scores & (column.granule == 0)),
            self.scale.eq(loops.scale + column.word), self.bias.eq(loops.bias + column.word),
        ]  # fmt: skip

    def _has_column(self, column: Any) -> Value:
        """A column block may have columns beyond the tiles of the result."""
        return column.tile <= self.loops.last_tile
