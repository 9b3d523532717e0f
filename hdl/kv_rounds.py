"""KV rounds: the rounds that were formed, and the chunks of the first of them."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.kv_layout import VECTOR_BITS, KvShape, index, round_layout, update_layout
from skipopu.hdl.verilog import Block, place


class KvRounds(Block):
    """A queue of rounds; the first one is read chunk by chunk, one from every lane at once.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    write, formed : in, a round joins the queue; never while ``full``
    forming : in, another one may be formed
    full, empty : out
    value, vector, chunks : in, K or V, chunks of a vector, chunks that are read of it
    ready : in, a bit an HBM port: its chunk is there
    enable : in, the lanes may go
    pop : out, every lane of the round gives a chunk in this cycle
    mask, tokens : out, the round's lanes, and the token of each
    last, end : out, it is the round's last chunk; and no round follows
    waits : out, it is the round's last chunk, and whether a round follows is not known yet
    read : out, an address a bank
    update : out, what each bank keeps of the chunk, and where

    Timing
    ------
    A round written in cycle t can pop in t + 1; it leaves with its last chunk and the next can pop in the cycle after.
    The last chunk waits until the next round is there or ``forming`` is over: only then is it known what follows.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        super().__init__({
            "write": In(1), "formed": In(round_layout(shape)), "full": Out(1), "empty": Out(1),
            "forming": In(1),
            "value": In(1), "vector": In(VECTOR_BITS), "chunks": In(VECTOR_BITS),
            "ready": In(shape.ports), "enable": In(1), "pop": Out(1), "mask": Out(shape.lanes), "last": Out(1),
            "end": Out(1), "waits": Out(1), "tokens": Out(data.ArrayLayout(index(shape.tokens), shape.lanes)),
            "read": Out(data.ArrayLayout(index(shape.bank_chunks), shape.banks)),
            "update": Out(data.ArrayLayout(update_layout(shape), shape.banks)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A queue and a chunk counter."""
        m, layout = Module(), round_layout(self._shape)
        queue = place(m, "queue", Fifo(bits=layout.size, depth=self._shape.rounds))
        current, chunk = Signal(layout, name="current"), Signal(VECTOR_BITS, name="chunk")
        m.d.comb += [
            queue.write.eq(self.write), queue.write_data.eq(self.formed), queue.read.eq(self.pop & self.last),
            self.full.eq(queue.full), self.empty.eq(queue.empty), current.eq(queue.head),
            self.mask.eq(current.mask), self.tokens.eq(current.tokens), self.last.eq(chunk == self.chunks - 1),
            self.end.eq(self.last & ~queue.more), self.waits.eq(self._unknown()),
            self.pop.eq(~queue.empty & self.enable & self._there(current) & ~self.waits),
        ]  # fmt: skip
        with m.If(self.pop):
            m.d.sync += chunk.eq(Mux(self.last, 0, chunk + 1))
        self._addresses(m, current, chunk)
        return m

    def _there(self, current: Any) -> Any:
        """Every HBM lane of the round has a chunk; the buffer always has."""
        wanted = current.mask[: self._shape.ports]
        return (wanted & ~self.ready) == 0

    def _unknown(self) -> Value:
        """It is not known yet whether this is the last chunk of all."""
        return self.end & self.forming

    def _chunk_of_token(self, chunk: Signal) -> Value:
        """V lies behind K."""
        return chunk + Mux(self.value, self.vector, 0)

    def _addresses(self, m: Module, current: Any, chunk: Signal) -> None:
        offset = Signal(index(self._shape.bank_chunks), name="chunk_of_token")
        m.d.comb += offset.eq(self._chunk_of_token(chunk))
        for bank in range(self._shape.banks):
            each, update = current.banks[bank], self.update[bank]
            m.d.comb += [
                self.read[bank].eq(each.read + offset), update.keep.eq(each.keep), update.source.eq(each.source),
                update.address.eq(each.write + offset),
            ]  # fmt: skip
