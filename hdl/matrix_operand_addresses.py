"""Operand addresses: where row tiles lie in the global buffer, and where they are written back."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.matrix_layout import operand_loops, tile_address
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS, ROW_REQUEST, TILE_BITS
from skipopu.hdl.verilog import Block
from skipopu.spec.overlay import Overlay


class OperandAddresses(Block):
    """Counters and base addresses over the row tiles of a matrix operation.

    A tile lies at base + row. From the last row on the base goes to the next member, tile inside, tile outside: every
    loop has a base of its own, and only the distance between two heads is a product (a DSP48E2).

    Parameters
    ----------
    overlay : global_buffer.tiles

    Ports
    -----
    start, loops : in, an operation begins in the next cycle; `operand_loops`
    granted (1) : in, the current tile is read
    current : out, the loops of the operation that runs
    request : out, `ROW_REQUEST` of the NPE: row of all members', tile since all began, or began again
    position : out, of the row among the executed ones · listed : in, the row of the block there
    address, second, back : out, of the tile, of the same of the next head, and where it is written back
    passes (1) : out, the tile goes through the operand lanes

    Timing
    ------
    Combinational from registers; the next tile's the cycle after ``granted``.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._place, loops = tile_address(overlay), operand_loops(overlay)
        super().__init__({
            "start": In(1), "loops": In(loops), "granted": In(1), "current": Out(loops),
            "request": Out(ROW_REQUEST), "position": Out(ROW_BITS), "listed": In(ROW_BITS),
            "address": Out(self._place), "second": Out(self._place), "back": Out(self._place), "passes": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Loops, then addresses."""
        m = Module()
        self._loops = self.current
        self._bases = {n: Signal(self._place, name=f"{n}_base") for n in ("member", "inside", "outside")}
        self._again = Signal(name="again")
        self._head_stride = named(m, self._head_distance(), "head_stride", self._place)
        counts = {n: Signal(TILE_BITS, name=n) for n in ("member", "inside", "outside")}
        with m.If(self.start):
            m.d.sync += [self.current.eq(self.loops), self._again.eq(0), self.position.eq(0), self.request.eq(0)]
            m.d.sync += [count.eq(0) for count in counts.values()]
            m.d.sync += [base.eq(self.loops.source) for base in self._bases.values()]
        with m.Elif(self.granted):
            self._advance(m, counts)
        self._addresses(m)
        return m

    def _head_distance(self) -> Value:
        """Of one key/value head to the next."""
        return self._loops.member_stride * self._loops.members

    def _advance(self, m: Module, counts: dict[str, Signal]) -> None:
        """Past the current tile: the innermost loop that is not at its end goes on, those in it begin again."""
        loops = self._loops
        last_row = named(m, self.position == loops.rows - 1, "last_row")
        last_member = named(m, counts["member"] == loops.members - 1, "last_member")
        last_inside = named(m, counts["inside"] == loops.inside - 1, "last_inside")
        last_outside = named(m, counts["outside"] == loops.outside - 1, "last_outside")
        m.d.sync += [self.position.eq(self.position + 1), self.request.row.eq(self.request.row + 1)]
        with m.If(last_row):
            m.d.sync += [self.position.eq(0), counts["member"].eq(counts["member"] + 1)]
            self._go(m, "member", loops.member_stride)
        with m.If(last_row & last_member):
            m.d.sync += [counts["member"].eq(0), counts["inside"].eq(counts["inside"] + 1)]
            m.d.sync += [self.request.row.eq(0), self.request.tile.eq(self.request.tile + 1)]
            self._go(m, "inside", loops.inside_stride)
        with m.If(last_row & last_member & last_inside):
            m.d.sync += [counts["inside"].eq(0), counts["outside"].eq(counts["outside"] + 1)]
            self._go(m, "outside", Mux(loops.pairs, self._head_stride << 1, self._head_stride))
        with m.If(last_row & last_member & last_inside & last_outside):
            m.d.sync += [counts["outside"].eq(0), self.request.tile.eq(0), self._again.eq(1)]
            m.d.sync += [base.eq(loops.again) for base in self._bases.values()]

    def _go(self, m: Module, loop: str, stride: Value) -> None:
        """The loop's base moves on, and with it the bases of the loops inside it."""
        found = self._bases[loop] + stride
        inner = ("member", "inside", "outside")
        m.d.sync += [self._bases[each].eq(found) for each in inner[: inner.index(loop) + 1]]

    def _addresses(self, m: Module) -> None:
        loops = self._loops
        m.d.comb += [
            self.address.eq(self._bases["member"] + self._row()), self.second.eq(self.address + self._head_stride),
            self.back.eq(self.address + loops.back),
            self.passes.eq(loops.passes & ~(loops.first_block_only & self._again)),
        ]  # fmt: skip

    def _row(self) -> Value:
        return Mux(self._loops.by_list, self.listed, self.position)
