"""HBM port: one AXI3 port of the memory as the core sees it, in chunks and in the core clock."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import DATA_BITS, connect_channels, port_channels, read_channels, write_channels
from skipopu.hdl.read_master import ReadMaster, burst_layout
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.write_master import WriteMaster, write_layout


class HbmPort(Block):
    """Both masters of a port. Addresses and lengths are in chunks of ``ratio`` beats, within the port's 256 MiB.

    Parameters
    ----------
    ratio : HBM ticks of a core cycle, a power of two
    read_bursts, write_bursts : most outstanding, powers of two
    request_ticks, crossing_stages : crossing to the HBM clock in its ticks, from it in core cycles
    weight_chunks, kv_chunks : chunks that the FIFOs hold; who asks for a burst has seen that there is room

    Ports
    -----
    weight_request, kv_request : in, streams of bursts, not across 4 KiB; K/V go first
    weight_chunk, kv_chunk : out, streams of chunks, in the order asked for
    write : in, stream of chunks; with the ``last`` of a burst its address and length
    writes_pending : out, a write burst is unacknowledged
    error : out, HBM clock: a response was not OKAY; stays
    AR, R, AW, W, B : AXI3, HBM clock

    Timing
    ------
    See `ReadMaster` and `WriteMaster`. The memory puts reads and writes in order, if it does: the port has no hazard
    check, and a reader of what was written waits until no write is pending.
    """

    def __init__(
        self, *, ratio: int, read_bursts: int, write_bursts: int, request_ticks: int, crossing_stages: int,
        weight_chunks: int, kv_chunks: int,
    ) -> None:  # fmt: skip
        crossing = {"ratio": ratio, "request_ticks": request_ticks, "crossing_stages": crossing_stages}
        chunks = {"weight_chunks": weight_chunks, "kv_chunks": kv_chunks}
        self._reads = ReadMaster(bursts=read_bursts, **crossing, **chunks)
        self._writes = WriteMaster(bursts=write_bursts, **crossing)
        bursts_in, chunks_out = In(stream.Signature(burst_layout(ratio))), Out(stream.Signature(ratio * DATA_BITS))
        super().__init__({
            "weight_request": bursts_in, "kv_request": bursts_in, "weight_chunk": chunks_out, "kv_chunk": chunks_out,
            "write": In(stream.Signature(write_layout(ratio))), "writes_pending": Out(1),
            "error": Out(1), **port_channels().members,
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The masters side by side: AXI's read and write channels are independent."""
        m = Module()
        reads, writes = place(m, "reads", self._reads), place(m, "writes", self._writes)
        for request in ("weight_request", "kv_request"):
            connect(m, flipped(getattr(self, request)), getattr(reads, request))
        for chunk in ("weight_chunk", "kv_chunk"):
            connect(m, getattr(reads, chunk), flipped(getattr(self, chunk)))
        connect(m, flipped(self.write), writes.write)
        connect_channels(m, read_channels(), self, reads)
        connect_channels(m, write_channels(), self, writes)
        m.d.comb += [self.writes_pending.eq(writes.pending), self.error.eq(reads.error | writes.error)]
        return m
