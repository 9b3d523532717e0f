"""Write master: the AW, W and B channels of an HBM port."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.async_fifo import AsyncFifo, fifo_depth
from skipopu.hdl.axi import DATA_BITS, INCREMENT, OKAY, SIZE, write_channels
from skipopu.hdl.gray_count import GrayCount
from skipopu.hdl.read_master import beats_less_one, burst_layout, byte_address
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.write_data import WriteData
from skipopu.spec.overlay import AXI3_BURST_BEATS


def write_layout(ratio: int) -> data.StructLayout:
    """A chunk to be written; with the ``last`` of a burst the burst itself."""
    return data.StructLayout({"data": ratio * DATA_BITS, "last": 1, "burst": burst_layout(ratio)})


class WriteMaster(Block):
    """Write bursts, at most ``bursts`` unacknowledged; a burst is asked for when all its data are here.

    Parameters
    ----------
    ratio : HBM ticks of a core cycle, a power of two
    bursts : most unacknowledged, a power of two
    request_ticks : ticks from the core to AW: flip-flops of the synchroniser and the AXI output register
    crossing_stages : core cycles from B to the core: flip-flops of the synchroniser and one more

    Ports
    -----
    write : in, stream of chunks
    pending : out, a burst is unacknowledged
    error : out, HBM clock: a response was not OKAY; stays
    AW, W, B : out, AXI3, HBM clock; B is always taken

    Timing
    ------
    A burst whose last chunk is accepted in core cycle t stands at AW in tick (t + 1) · ratio + request_ticks, unless
    others are before it. Its data follow from that tick on, a beat a tick, behind those of earlier bursts. A burst
    acknowledged in tick k counts until cycle (k + 1) // ratio + crossing_stages − 1.
    """

    def __init__(self, *, ratio: int, bursts: int, request_ticks: int, crossing_stages: int) -> None:
        self._ratio, self._bursts, self._crossing = ratio, bursts, crossing_stages
        self._burst = burst_layout(ratio)
        self._requests = AsyncFifo(
            width=self._burst.size, depth=fifo_depth(bursts), stages=request_ticks - 1, write_domain="sync",
            read_domain="hbm", ahead=False,
        )  # fmt: skip
        super().__init__({
            "write": In(stream.Signature(write_layout(ratio))), "pending": Out(1), "error": Out(1),
            **write_channels().members,
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Core side, AW, W, B."""
        m = Module()
        requests = place(m, "requests", self._requests)
        chunks = self._bursts * AXI3_BURST_BEATS // self._ratio
        data_out = place(m, "data", WriteData(chunks=chunks, bursts=self._bursts, ratio=self._ratio))
        self._accept(m, requests, data_out)
        self._ask(m, requests.read, data_out)
        for name in ("wdata", "wstrb", "wlast", "wvalid"):
            m.d.comb += getattr(self, name).eq(getattr(data_out, name))
        m.d.comb += [data_out.wready.eq(self.wready), self.bready.eq(1)]
        m.d.hbm += self.error.eq(self.error | (self.bvalid & (self.bresp != OKAY)))
        return m

    def _accept(self, m: Module, requests: Any, data_out: Any) -> None:
        """Take chunks while a burst may be unacknowledged; a burst's last chunk issues it."""
        moves, unacknowledged = Signal(name="moves"), self._unacknowledged(m, requests.write)
        chunk = self.write.payload
        m.d.comb += [
            self.write.ready.eq(self._may_write(unacknowledged)), moves.eq(self.write.valid & self.write.ready),
            data_out.write.eq(moves), data_out.chunk.eq(chunk.data), data_out.last.eq(chunk.last),
            requests.write.eq(moves & chunk.last), requests.write_data.eq(chunk.burst),
            self.pending.eq(unacknowledged.any()),
        ]  # fmt: skip

    def _unacknowledged(self, m: Module, accepted: Value) -> Signal:
        """Bursts accepted and not known to be acknowledged."""
        width = self._bursts.bit_length()
        acknowledged = place(m, "acknowledged", GrayCount(width=width, stages=self._crossing - 1))
        issued, unacknowledged = Signal(width, name="issued"), Signal(width, name="unacknowledged")
        m.d.sync += issued.eq(issued + accepted)
        m.d.comb += [acknowledged.happens.eq(self.bvalid), unacknowledged.eq(issued - acknowledged.count)]
        return unacknowledged

    def _may_write(self, unacknowledged: Signal) -> Value:
        return unacknowledged < self._bursts

    def _ask(self, m: Module, read: Any, data_out: Any) -> None:
        """The AXI output register; its load releases the burst's data."""
        burst, load = data.View(self._burst, read.payload), Signal(name="load")
        m.d.comb += [load.eq(~self.awvalid | self.awready), read.ready.eq(load), data_out.start.eq(load & read.valid)]
        m.d.comb += [self.awburst.eq(INCREMENT), self.awsize.eq(SIZE), self.awid.eq(0)]
        with m.If(load):
            m.d.hbm += [
                self.awvalid.eq(read.valid), self.awaddr.eq(byte_address(burst, self._ratio)),
                self.awlen.eq(beats_less_one(burst, self._ratio)),
            ]  # fmt: skip
