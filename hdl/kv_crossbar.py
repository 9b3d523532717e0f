"""KV crossbar: what a bank of the invariance buffer keeps, from any lane of the round."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import KvShape, index, update_layout
from skipopu.hdl.verilog import Block


class KvCrossbar(Block):
    """One write port of the update crossbar: a multiplexer over all lanes and a register.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    lanes : in, a chunk each
    update, taken : in, what the bank keeps of them; they are taken from the output in this cycle
    write, write_address, write_data : out, to the bank

    Timing
    ------
    Written in the cycle after ``taken``.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._lanes, bits = shape.lanes, shape.chunk_bits
        super().__init__({
            "lanes": In(data.ArrayLayout(bits, shape.lanes)), "update": In(update_layout(shape)), "taken": In(1),
            "write": Out(1), "write_address": Out(index(shape.bank_chunks)), "write_data": Out(bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Select, register."""
        m = Module()
        chosen, kept = (Signal(len(self.write_data), name=n, reset_less=True) for n in ("chosen", "kept"))
        with m.Switch(self.update.source):
            for lane in range(self._lanes):
                with m.Case(lane):
                    m.d.comb += chosen.eq(self.lanes[lane])
        m.d.sync += [self.write.eq(self.taken & self.update.keep), self.write_address.eq(self.update.address)]
        with m.If(self.taken & self.update.keep):
            m.d.sync += kept.eq(chosen)
        m.d.comb += self.write_data.eq(kept)
        return m
