"""Read master: the AR and R channels of an HBM port, between weight stream and K/V fetch on one side and AXI."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.async_fifo import AsyncFifo, fifo_depth
from skipopu.hdl.axi import DATA_BITS, INCREMENT, OKAY, PORT_ADDRESS_BITS, SIZE, read_channels
from skipopu.hdl.chunk_fifo import ChunkFifo
from skipopu.hdl.gray_count import GrayCount
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import AXI3_BURST_BEATS

WEIGHTS, KV = 0, 1  # AXI IDs


def burst_layout(ratio: int) -> data.StructLayout:
    """A burst in chunks of ``ratio`` beats: where it begins in the port's 256 MiB, and how long it is."""
    chunk = SIZE + ratio.bit_length() - 1
    return data.StructLayout({"address": PORT_ADDRESS_BITS - chunk, "chunks": (AXI3_BURST_BEATS // ratio).bit_length()})


class ReadMaster(Block):
    """Ask for bursts, at most ``bursts`` outstanding, and sort the beats that come by their ID.

    Parameters
    ----------
    ratio : HBM ticks of a core cycle, a power of two
    bursts : most outstanding, a power of two
    request_ticks : ticks from the core to AR: flip-flops of the synchroniser and the AXI output register
    crossing_stages : core cycles from R to the core: flip-flops of the synchroniser and the output register
    weight_chunks, kv_chunks : chunks that each FIFO holds; who asks for a burst has seen that there is room

    Ports
    -----
    weight_request, kv_request : in, streams of bursts; K/V go first
    weight_chunk, kv_chunk : out, streams of chunks
    error : out, HBM clock: a response was not OKAY; stays
    AR, R : out, AXI3, HBM clock; ID 0 are weights, 1 K/V; R is always taken

    Timing
    ------
    A burst accepted in core cycle t stands at AR in tick (t + 1) · ratio + request_ticks, unless others are before it;
    one a cycle. A burst whose last beat comes in tick k is outstanding until cycle (k + 1) // ratio +
    crossing_stages − 1. Chunks: see `ChunkFifo`.
    """

    def __init__(
        self, *, ratio: int, bursts: int, request_ticks: int, crossing_stages: int, weight_chunks: int, kv_chunks: int
    ) -> None:
        self._ratio, self._bursts, self._crossing = ratio, bursts, crossing_stages
        self._burst = burst_layout(ratio)
        self._request = data.StructLayout({"burst": self._burst, "kv": 1})
        self._requests = AsyncFifo(
            width=self._request.size, depth=fifo_depth(bursts), stages=request_ticks - 1, write_domain="sync",
            read_domain="hbm", ahead=False,
        )  # fmt: skip
        self._fifos = [ChunkFifo(chunks=n, ratio=ratio, stages=crossing_stages) for n in (weight_chunks, kv_chunks)]
        bursts_in, chunks_out = In(stream.Signature(self._burst)), Out(stream.Signature(ratio * DATA_BITS))
        super().__init__({
            "weight_request": bursts_in, "kv_request": bursts_in, "weight_chunk": chunks_out, "kv_chunk": chunks_out,
            "error": Out(1), **read_channels().members,
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Core side, AR, R."""
        m = Module()
        requests = place(m, "requests", self._requests)
        self._accept(m, requests)
        self._ask(m, requests.read)
        self._receive(m)
        return m

    def _accept(self, m: Module, requests: Any) -> None:
        """Take one request a cycle, K/V first, while bursts may be outstanding."""
        free, request = Signal(name="burst_free"), Signal(self._request, name="request")
        m.d.comb += [
            self.kv_request.ready.eq(free), self.weight_request.ready.eq(free & ~self.kv_request.valid),
            request.kv.eq(self.kv_request.valid),
            request.burst.eq(Mux(request.kv, self.kv_request.payload, self.weight_request.payload)),
            requests.write.eq(free & (self.kv_request.valid | self.weight_request.valid)),
            requests.write_data.eq(request), free.eq(self._may_ask(self._outstanding(m, requests.write))),
        ]  # fmt: skip

    def _outstanding(self, m: Module, accepted: Value) -> Signal:
        """Bursts accepted and not known to be complete."""
        width = self._bursts.bit_length()
        completed = place(m, "completed", GrayCount(width=width, stages=self._crossing - 1))
        issued, outstanding = Signal(width, name="issued"), Signal(width, name="outstanding")
        m.d.sync += issued.eq(issued + accepted)
        m.d.comb += [completed.happens.eq(self._completes()), outstanding.eq(issued - completed.count)]
        return outstanding

    def _completes(self) -> Value:
        return self.rvalid & self.rlast

    def _may_ask(self, outstanding: Signal) -> Value:
        return outstanding < self._bursts

    def _ask(self, m: Module, read: Any) -> None:
        """The AXI output register."""
        request, load = data.View(self._request, read.payload), Signal(name="load")
        m.d.comb += [load.eq(self._may_load()), read.ready.eq(load)]
        m.d.comb += [self.arburst.eq(INCREMENT), self.arsize.eq(SIZE)]
        with m.If(load):
            m.d.hbm += [
                self.arvalid.eq(read.valid), self.arid.eq(self._identifier(request.kv)),
                self.araddr.eq(byte_address(request.burst, self._ratio)),
                self.arlen.eq(beats_less_one(request.burst, self._ratio)),
            ]  # fmt: skip

    def _may_load(self) -> Value:
        return ~self.arvalid | self.arready

    def _identifier(self, kv: Value) -> Value:
        return Mux(kv, KV, WEIGHTS)

    def _receive(self, m: Module) -> None:
        """Sort the beats; note an error."""
        sides = ((self.weight_chunk, "weight_fifo", WEIGHTS), (self.kv_chunk, "kv_fifo", KV))
        for (chunk, name, identifier), block in zip(sides, self._fifos, strict=True):
            fifo = place(m, name, block)
            connect(m, fifo.chunk, flipped(chunk))
            m.d.comb += [fifo.beat.eq(self.rdata), fifo.beat_valid.eq(self._is_for(identifier))]
        m.d.comb += self.rready.eq(1)
        m.d.hbm += self.error.eq(self.error | (self.rvalid & (self.rresp != OKAY)))

    def _is_for(self, identifier: int) -> Value:
        return self.rvalid & (self.rid == identifier)


def byte_address(burst: Any, ratio: int) -> Value:
    """Byte address of a burst in chunks."""
    return burst.address << (SIZE + ratio.bit_length() - 1)


def beats_less_one(burst: Any, ratio: int) -> Value:
    """AxLEN of a burst in chunks."""
    return (burst.chunks << (ratio.bit_length() - 1)) - 1
