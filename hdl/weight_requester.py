"""Weight requester: one HBM port's share of a weight operation, cut into bursts."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.verilog import Block
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, HBM_BEAT_BYTES


class WeightRequester(Block):
    """Ask for consecutive chunks in bursts that fit AXI3, 4 KiB pages and the port's chunk FIFO.

    Parameters
    ----------
    ratio : HBM ticks of a core cycle = beats of a chunk, a power of two
    credit : chunks that may be asked for and not yet popped

    Ports
    -----
    start, address, chunks : in, begin with the next cycle; not while chunks are left; ``chunks`` ≥ 1
    request : out, stream of bursts
    popped : in, a chunk leaves the FIFO
    finished : out, nothing is left, or the last burst is accepted in this cycle

    Timing
    ------
    A burst a cycle. A chunk popped in a cycle gives its credit back for the next.
    """

    def __init__(self, *, ratio: int, credit: int) -> None:
        self._ratio, self._credit = ratio, credit
        self._burst = burst_layout(ratio)
        address = self._burst["address"].width
        super().__init__({
            "start": In(1), "address": In(address), "chunks": In(address),
            "request": Out(stream.Signature(self._burst)), "popped": In(1), "finished": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Where the next burst begins, how much is left, how much of the FIFO is spoken for."""
        m = Module()
        burst = self.request.payload
        address, left = (Signal(len(self.address), name=name) for name in ("next_address", "left"))
        moves, asked = Signal(name="moves"), Signal(len(burst.chunks), name="asked")
        m.d.comb += [
            burst.address.eq(address), burst.chunks.eq(self._length(m, address, left)),
            self.request.valid.eq(left.any() & self._has_room(m, burst.chunks, asked)),
            moves.eq(self.request.valid & self.request.ready), asked.eq(Mux(moves, burst.chunks, 0)),
            self.finished.eq(left == asked),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [address.eq(self.address), left.eq(self.chunks)]
        with m.Else():
            m.d.sync += [address.eq(address + asked), left.eq(left - asked)]
        return m

    def _length(self, m: Module, address: Signal, left: Signal) -> Value:
        """Chunks of the next burst: an AXI3 burst, no more than are left, not across a 4 KiB boundary."""
        most, page = AXI3_BURST_BEATS // self._ratio, self._page_chunks()
        to_boundary, length = Signal(range(page + 1), name="to_boundary"), Signal(range(most + 1), name="length")
        m.d.comb += [to_boundary.eq(page - address[: page.bit_length() - 1]), length.eq(most)]
        with m.If((left < most) & (left <= to_boundary)):
            m.d.comb += length.eq(left)
        with m.Elif(to_boundary < most):
            m.d.comb += length.eq(to_boundary)
        return length

    def _page_chunks(self) -> int:
        return BOUNDARY // (self._ratio * HBM_BEAT_BYTES)

    def _has_room(self, m: Module, length: Value, asked: Signal) -> Value:
        """Chunks asked for and not popped, this burst's among them, fit the FIFO."""
        reserved = Signal(range(self._credit + 1), name="reserved")
        m.d.sync += reserved.eq(reserved + asked - self.popped)
        return self._fits(reserved + length)

    def _fits(self, chunks: Value) -> Value:
        return chunks <= self._credit
