"""KV fetch: a port's tokens, in order, as bursts to its HBM port."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.kv_layout import VECTOR_BITS, KvShape
from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.verilog import Block, place


class KvFetch(Block):
    """Ask for the part of each token's vector that is read, as far as the chunk FIFO has room.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    write, address : in, a token's K vector joins the queue; never while ``full``
    full : out
    offset, chunks : in, the part of a vector: chunks from ``address`` on, and how many; steady while tokens are queued
    request : out, stream of bursts, none across 4 KiB
    popped : in, a chunk leaves the port's FIFO

    Timing
    ------
    A token written in cycle t asks in t + 1; a burst a cycle. A chunk popped in t makes room in t + 1.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        address = In(shape.address_bits)
        super().__init__({
            "write": In(1), "address": address, "full": Out(1), "offset": address, "chunks": In(VECTOR_BITS),
            "request": Out(stream.Signature(burst_layout(shape.ratio))), "popped": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A queue, the chunks of its head that are asked for, and the credit."""
        m, shape = Module(), self._shape
        queue = place(m, "queue", Fifo(bits=shape.address_bits, depth=shape.queue_depth))
        asked, accepted, last = Signal(VECTOR_BITS, name="asked"), Signal(name="accepted"), Signal(name="last_burst")
        burst = self._burst(m, queue.head, asked)
        m.d.comb += [
            queue.write.eq(self.write), queue.write_data.eq(self.address), self.full.eq(queue.full),
            self.request.valid.eq(~queue.empty & self._room(m, burst, accepted)),
            accepted.eq(self.request.valid & self.request.ready),
            last.eq(asked + burst == self.chunks), queue.read.eq(accepted & last),
        ]  # fmt: skip
        with m.If(accepted):
            m.d.sync += asked.eq(Mux(last, 0, asked + burst))
        return m

    def _burst(self, m: Module, head: Value, asked: Signal) -> Signal:
        """Chunks of the next request: a burst, the rest of the part, or up to the next 4 KiB."""
        shape, payload = self._shape, self.request.payload
        left, ahead = Signal(VECTOR_BITS, name="left"), Signal(range(shape.boundary_chunks + 1), name="to_boundary")
        m.d.comb += [
            payload.address.eq(head + self.offset + asked), left.eq(self.chunks - asked),
            ahead.eq(shape.boundary_chunks - payload.address % shape.boundary_chunks),
        ]  # fmt: skip
        bounded = Mux(left < shape.burst_chunks, left, shape.burst_chunks)
        m.d.comb += payload.chunks.eq(Mux(bounded < ahead, bounded, ahead))
        return payload.chunks

    def _room(self, m: Module, burst: Value, accepted: Value) -> Value:
        """The chunk FIFO can take the burst beside what it has, or will have, already."""
        ordered = Signal(range(self._shape.kv_chunks + 1), name="ordered")
        m.d.sync += ordered.eq(ordered + Mux(accepted, burst, 0) - self.popped)
        return self._fits(ordered + burst)

    def _fits(self, chunks: Value) -> Value:
        return chunks <= self._shape.kv_chunks
