"""FIFO in distributed RAM, in one clock."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block


class Fifo(Block):
    """First in, first out; the head stands at the output.

    Parameters
    ----------
    bits, depth : width and number of the entries

    Ports
    -----
    write, write_data : in, never while ``full``
    read : in, take the head; never while ``empty``
    head : out, meaningless while ``empty``
    full, empty : out, as the cycle begins: what is read in a cycle makes room for the next
    more : out, as the cycle begins: an entry stands behind the head

    Timing
    ------
    Written in cycle t, at the head in t + 1.
    """

    def __init__(self, *, bits: int, depth: int) -> None:
        self._bits, self._depth = bits, depth
        super().__init__({
            "write": In(1), "write_data": In(bits), "read": In(1), "head": Out(bits), "full": Out(1), "empty": Out(1),
            "more": Out(1),
        })  # fmt: skip

    @property
    def module(self) -> str:
        """Depth and width tell them apart."""
        return f"fifo_{self._depth}x{self._bits}"

    def elaborate(self, platform: Any) -> Module:
        """Memory between two pointers, read without a register."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._bits, depth=self._depth, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        stored = Signal(range(self._depth + 1), name="stored")
        m.d.sync += stored.eq(stored + self.write - self.read)
        m.d.comb += [
            write.addr.eq(self._pointer(m, "write_place", self.write)),
            write.data.eq(self.write_data), write.en.eq(self.write),
            read.addr.eq(self._pointer(m, "read_place", self.read)), self.head.eq(read.data),
            self.full.eq(stored == self._depth), self.empty.eq(stored == 0),
            self.more.eq(stored > 1),
        ]  # fmt: skip
        return m

    def _pointer(self, m: Module, name: str, step: Any) -> Signal:
        """A counter modulo the depth."""
        place = Signal(index(self._depth), name=name)
        with m.If(step):
            m.d.sync += place.eq(Mux(place == self._depth - 1, 0, place + 1))
        return place
