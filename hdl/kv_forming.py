"""KV forming: tokens become rounds, in order or from the heads of queues."""

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import KvShape, round_layout, source_layout
from skipopu.hdl.kv_open_round import KvOpenRound
from skipopu.hdl.kv_waiting import KvWaiting
from skipopu.hdl.verilog import Block, place


class KvForming(Block):
    """The open round and the waiting queues, of which an operation uses one.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    restart : in, an operation begins · in_order : in, steady: it uses the open round
    token : in, port and place it is read from, whether and where it is kept, its number
    fits : out, the token can be put
    put : in, put it · form : in, form a round; never both
    formed : out, the round that ``form`` makes; without lanes it is none
    empty : out, all tokens are in rounds

    Timing
    ------
    ``fits`` and ``formed`` in the same cycle; a token put in cycle t can be formed in t + 1.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        super().__init__({
            "restart": In(1), "in_order": In(1), "token": In(source_layout(shape)), "fits": Out(1),
            "put": In(1), "form": In(1), "formed": Out(round_layout(shape)), "empty": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Both, and the choice between them."""
        m = Module()
        opened, waiting = self._open_round(m), self._waiting(m)
        waits = ~waiting.full.bit_select(self.token.port, 1)
        m.d.comb += [
            self.fits.eq(Mux(self.in_order, opened.fits, waits)),
            self.formed.mask.eq(Mux(self.in_order, opened.formed.mask, waiting.formed.mask)),
            self.empty.eq(Mux(self.in_order, opened.empty, waiting.empty)),
        ]  # fmt: skip
        for each, one, other in zip(self.formed.banks, opened.formed.banks, waiting.formed.banks, strict=True):
            fields = (each[name].eq(Mux(self.in_order, one[name], other[name])) for name in ("keep", "source", "write"))
            m.d.comb += [each.read.eq(one.read), *fields]
        m.d.comb += self._tokens(opened.formed.tokens, waiting.formed.tokens)
        return m

    def _tokens(self, opened: Any, waiting: Any) -> list[Any]:
        """Of every lane; those that wait come from HBM."""
        ports, found = self._shape.ports, self.formed.tokens
        both = [found[port].eq(Mux(self.in_order, opened[port], waiting[port])) for port in range(ports)]
        return [*both, *(found[lane].eq(opened[lane]) for lane in range(ports, self._shape.lanes))]

    def _open_round(self, m: Module) -> Any:
        opened = place(m, "open_round", KvOpenRound(shape=self._shape))
        m.d.comb += [
            opened.token.eq(self.token), opened.place.eq(self.put & self.in_order),
            opened.close.eq(self.form & self.in_order),
        ]  # fmt: skip
        return opened

    def _waiting(self, m: Module) -> Any:
        waiting = place(m, "waiting", KvWaiting(shape=self._shape))
        m.d.comb += [
            waiting.restart.eq(self.restart), waiting.token.keep.eq(self.token.keep),
            waiting.token.place.eq(self.token.tail), waiting.token.number.eq(self.token.number),
            waiting.push.eq((self.put & ~self.in_order) << self.token.port),
            waiting.take.eq(self.form & ~self.in_order),
        ]  # fmt: skip
        return waiting
