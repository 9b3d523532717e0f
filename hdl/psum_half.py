"""PSUM half: the memory of one half of the partial sums."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.verilog import Block


class PsumHalf(Block):
    """Memory with a write and a read port; a read sees the write of the same cycle.

    Parameters
    ----------
    entries, entry_bits : depth and width

    Ports
    -----
    write, write_address, write_data : in
    read, read_address : in · read_data : out, keeps its value without ``read``

    Timing
    ------
    Data the cycle after ``read``.
    """

    def __init__(self, *, entries: int, entry_bits: int) -> None:
        self._entries, self._bits = entries, entry_bits
        super().__init__({
            "write": In(1), "write_address": In(range(entries)), "write_data": In(entry_bits),
            "read": In(1), "read_address": In(range(entries)), "read_data": Out(entry_bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Block RAM."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._bits, depth=self._entries, init=[])
        write_port = memory.write_port()
        read_port = memory.read_port(transparent_for=(write_port,))
        m.d.comb += [
            write_port.en.eq(self.write), write_port.addr.eq(self.write_address), write_port.data.eq(self.write_data),
            read_port.en.eq(self.read), read_port.addr.eq(self.read_address), self.read_data.eq(read_port.data),
        ]  # fmt: skip
        return m
