"""KV open round: the round that takes tokens in order until one does not fit."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import KvShape, index, round_layout, source_layout
from skipopu.hdl.verilog import Block


class KvOpenRound(Block):
    """Collect tokens while each finds its lane, and the bank that keeps it, unused.

    Ring places follow one another, so that a round has used its buffer reads (writes) when the next bank is taken.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    token : in, its HBM port, or the place it is read from; whether it is kept, and at which place
    fits : out, this round can take the token
    place, close : in, take it; begin a new round; never both
    empty : out
    formed : out, the round as it stands

    Timing
    ------
    ``fits`` in the same cycle; a token placed in a cycle is part of the round from the next on.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        super().__init__({
            "token": In(source_layout(shape)), "fits": Out(1), "place": In(1), "close": In(1), "empty": Out(1),
            "formed": Out(round_layout(shape)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A register a lane and bank."""
        m = Module()
        count = Signal(range(self._shape.round_tokens + 1), name="count")
        lane = Signal(index(self._shape.lanes), name="lane")
        m.d.comb += [
            lane.eq(Mux(self.token.from_buffer, self._shape.ports + self.token.head.bank, self.token.port)),
            self.fits.eq((count < self._shape.round_tokens) & ~self._taken(lane)), self.empty.eq(count == 0),
        ]  # fmt: skip
        mask = self.formed.mask
        with m.If(self.close):
            m.d.sync += [count.eq(0), mask.eq(0)]
        with m.Elif(self.place):
            m.d.sync += [count.eq(count + 1), mask.eq(mask | (1 << lane))]
        self._banks(m, lane)
        self._tokens(m, lane)
        return m

    def _taken(self, lane: Signal) -> Any:
        """The token's lane, or the bank that is to keep it, has one already."""
        banks = self.formed.banks
        kept = (
            self.token.keep & banks[bank].keep & (self.token.tail.bank == bank) for bank in range(self._shape.banks)
        )
        return reduce(or_, kept, self.formed.mask.bit_select(lane, 1))

    def _tokens(self, m: Module, lane: Signal) -> None:
        for number in range(self._shape.lanes):
            with m.If(self.place & (lane == number)):
                m.d.sync += self.formed.tokens[number].eq(self.token.number)

    def _banks(self, m: Module, lane: Signal) -> None:
        for bank in range(self._shape.banks):
            each = self.formed.banks[bank]
            with m.If(self.place & self.token.from_buffer & (self.token.head.bank == bank)):
                m.d.sync += each.read.eq(self.token.head.chunk)
            with m.If(self.close):
                m.d.sync += each.keep.eq(0)
            with m.Elif(self.place & self.token.keep & (self.token.tail.bank == bank)):
                m.d.sync += [each.keep.eq(1), each.source.eq(lane), each.write.eq(self.token.tail.chunk)]
