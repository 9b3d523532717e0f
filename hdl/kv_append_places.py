"""KV append places: where the next executed token of each layer will lie."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_append_layout import AppendShape, place_layout
from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block


class KvAppendPlaces(Block):
    """A place a layer, in distributed RAM: the first one until a token of the layer was appended.

    The n-th executed token lies in port n modulo ports, n // ports vectors behind the layer's first.

    Parameters
    ----------
    shape : sizes of KV append

    Ports
    -----
    restart : in, a program begins: nothing is appended
    layer : in · place : out, where its next token will lie
    advance, following : in, the layer's next token will lie there

    Timing
    ------
    ``place`` in the same cycle; ``restart`` and ``advance`` show from the next cycle on.
    """

    def __init__(self, *, shape: AppendShape) -> None:
        self._shape, layout = shape, place_layout(shape)
        super().__init__({
            "restart": In(1), "layer": In(index(shape.kv.rows)), "place": Out(layout),
            "advance": In(1), "following": In(layout),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The memory, and a bit a layer that says whether its word counts."""
        m, rows = Module(), self._shape.kv.rows
        m.submodules.memory = memory = Memory(shape=place_layout(self._shape).size, depth=rows, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")
        appended = Signal(rows, name="appended")
        m.d.comb += [
            write.en.eq(self.advance), write.addr.eq(self.layer), write.data.eq(self.following),
            read.addr.eq(self.layer), self.place.eq(Mux(appended.bit_select(self.layer, 1), read.data, 0)),
        ]  # fmt: skip
        with m.If(self.restart):
            m.d.sync += appended.eq(self._after_restart(appended))
        with m.Elif(self.advance):
            m.d.sync += appended.eq(appended | (1 << self.layer))
        return m

    def _after_restart(self, appended: Signal) -> Value:
        return appended & 0
