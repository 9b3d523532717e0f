"""KV bank: the memory of a bank of the invariance buffer."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block


class KvBank(Block):
    """Chunks in URAM, one read and one write a cycle.

    Parameters
    ----------
    chunks, chunk_bits : depth and width
    read_stages : cycles of a read

    Ports
    -----
    write, write_address, write_data : in
    enable, read_address : in · read_data : out, with all stages it stands still without ``enable``

    Timing
    ------
    Data ``read_stages`` enabled cycles after the address. What is read in the cycle in which it is written is not used.
    """

    def __init__(self, *, chunks: int, chunk_bits: int, read_stages: int) -> None:
        self._chunks, self._bits, self._stages = chunks, chunk_bits, read_stages
        super().__init__({
            "write": In(1), "write_address": In(index(chunks)), "write_data": In(chunk_bits),
            "enable": In(1), "read_address": In(index(chunks)), "read_data": Out(chunk_bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The memory's own register, then those behind it."""
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=self._bits, depth=self._chunks, init=[], attrs={"ram_style": "ultra"}
        )
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.en.eq(self.write), write.addr.eq(self.write_address), write.data.eq(self.write_data),
            read.en.eq(self.enable), read.addr.eq(self.read_address),
        ]  # fmt: skip
        found = read.data
        for stage in range(2, self._stages + 1):
            register = Signal(self._bits, name=f"read_data_{stage}", reset_less=True)
            with m.If(self.enable):
                m.d.sync += register.eq(found)
            found = register
        m.d.comb += self.read_data.eq(found)
        return m
