"""KV lanes: chunks on their way to the output, the banks of the invariance buffer, and their update."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_bank import KvBank
from skipopu.hdl.kv_crossbar import KvCrossbar
from skipopu.hdl.kv_layout import KvShape, index, output_layout, update_layout
from skipopu.hdl.verilog import Block, place


class KvLanes(Block):
    """HBM's chunks keep pace with the banks' reads; what leaves goes through the crossbar into the banks, too.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    pop, mask, tokens : in, chunks begin their way; of which lanes, and their tokens
    last, end : in, they are the last of a round; of the operation
    chunks : in, of the HBM ports
    read, update : in, an address a bank; what each bank keeps
    enable : out, the lanes move in this cycle
    empty : out, nothing is on its way
    output : out, stream of a chunk a lane

    Timing
    ------
    ``read_stages`` cycles from ``pop`` to the output, in which all stand still while the output waits. Kept chunks are
    written in the cycle after they leave.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        super().__init__({
            "pop": In(1), "mask": In(shape.lanes), "last": In(1), "end": In(1),
            "tokens": In(data.ArrayLayout(index(shape.tokens), shape.lanes)),
            "chunks": In(data.ArrayLayout(shape.chunk_bits, shape.ports)),
            "read": In(data.ArrayLayout(index(shape.bank_chunks), shape.banks)),
            "update": In(data.ArrayLayout(update_layout(shape), shape.banks)),
            "enable": Out(1), "empty": Out(1), "output": Out(stream.Signature(output_layout(shape))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Pipeline, banks, crossbar."""
        m = Module()
        valid, out = self._valid(m), self.output.payload
        m.d.comb += [
            self.enable.eq(~self.output.valid | self.output.ready), self.output.valid.eq(valid[-1]),
            self.empty.eq(~Cat(*valid).any()),
            out.mask.eq(self._delayed(m, self.mask, "mask")), out.last.eq(self._delayed(m, self.last, "last")),
            out.end.eq(self._delayed(m, self.end, "end")),
            out.tokens.eq(self._delayed(m, Value.cast(self.tokens), "tokens")),
        ]  # fmt: skip
        for port in range(self._shape.ports):
            m.d.comb += out.data[port].eq(self._delayed(m, self.chunks[port], f"chunk{port}"))
        for bank in range(self._shape.banks):
            self._bank(m, bank, self._delayed(m, Value.cast(self.update[bank]), f"update{bank}"))
        return m

    def _valid(self, m: Module) -> list[Signal]:
        """A bit a stage."""
        valid, source = [], self.pop
        for stage in range(1, self._shape.read_stages + 1):
            register = Signal(name=f"valid_{stage}")
            with m.If(self.enable):
                m.d.sync += register.eq(source)
            valid.append(register)
            source = register
        return valid

    def _delayed(self, m: Module, value: Any, name: str) -> Signal:
        """``value`` beside the banks' reads."""
        for stage in range(1, self._shape.read_stages + 1):
            register = Signal(len(value), name=f"{name}_{stage}", reset_less=True)
            with m.If(self.enable):
                m.d.sync += register.eq(value)
            value = register
        return value

    def _bank(self, m: Module, number: int, update: Signal) -> None:
        """A bank, the multiplexer that writes it, and its lane."""
        shape, lanes = self._shape, self.output.payload.data
        bank = place(
            m, f"bank{number}",
            KvBank(chunks=shape.bank_chunks, chunk_bits=shape.chunk_bits, read_stages=shape.read_stages),
        )  # fmt: skip
        crossbar = place(m, f"crossbar{number}", KvCrossbar(shape=shape))
        m.d.comb += [
            bank.enable.eq(self.enable), bank.read_address.eq(self.read[number]),
            lanes[shape.ports + number].eq(bank.read_data),
            crossbar.lanes.eq(lanes), crossbar.update.eq(update),
            crossbar.taken.eq(self.output.valid & self.output.ready),
            bank.write.eq(crossbar.write), bank.write_address.eq(crossbar.write_address),
            bank.write_data.eq(crossbar.write_data),
        ]  # fmt: skip
