"""DMA: the HBM ports, the weight stream, and the way of the K/V cache to and from the memory."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import PORT_ADDRESS_BITS, address_bits, connect_channels, port_channels
from skipopu.hdl.clock_crossing import synchronised
from skipopu.hdl.hbm_port import HbmPort
from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.weight_stream import WeightStream, weights_layout
from skipopu.hdl.write_master import write_layout
from skipopu.spec.overlay import Overlay


def routed_write_layout(ports: int, ratio: int) -> data.StructLayout:
    """A chunk to be written and the HBM port to which it goes."""
    return data.StructLayout({"chunk": write_layout(ratio), "port": max(1, (ports - 1).bit_length())})


class Dma(Block):
    """HBM in the core clock: weights from all ports together, K/V of each port alone, writes.

    Addresses and lengths are in chunks: what a port delivers in a core cycle, ``clock.hbm_ratio`` beats of 32 bytes.

    Parameters
    ----------
    overlay : section dma, clock.hbm_ratio

    Ports
    -----
    operation : in, stream of weight operations: address within every port, chunks of every port
    done : out, all bursts of the operation are asked for
    weights : out, stream of words: a chunk of every port, that of port 0 lowest
    kv_request : in, a port each, streams of bursts, not across 4 KiB; who asks keeps at most ``dma.kv_chunks``
        chunks asked for and not taken
    kv_chunk : out, a port each, streams of chunks, in the order asked for
    write : in, stream of chunks and their ports; with the ``last`` of a burst its address and length, at most 16
        beats, not across 4 KiB
    writes_pending : out, a burst is not known to be acknowledged
    error : out, a response of the memory was not OKAY; stays
    hbm : a port each, AXI3, HBM clock; port p addresses p · 256 MiB and up

    Timing
    ------
    Core → AXI ``dma.request_ticks``, AXI → core ``dma.crossing_stages``: see `ReadMaster` and `WriteMaster`. At most
    ``dma.read_bursts`` and ``dma.write_bursts`` are outstanding a port. One burst a port and cycle; K/V go first.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        dma, ratio = overlay.dma, overlay.clock.hbm_ratio
        self._ports, self._ratio, self._stages = dma.hbm_ports, ratio, dma.crossing_stages - 1
        self._port = HbmPort(
            ratio=ratio, read_bursts=dma.read_bursts, write_bursts=dma.write_bursts, request_ticks=dma.request_ticks,
            crossing_stages=dma.crossing_stages, weight_chunks=dma.weight_chunks, kv_chunks=dma.kv_chunks,
        )  # fmt: skip
        self._weights = WeightStream(ports=dma.hbm_ports, ratio=ratio, credit=dma.weight_chunks)
        chunk = overlay.chunk_bytes * 8
        super().__init__({
            "operation": In(stream.Signature(weights_layout(ratio))), "done": Out(1),
            "weights": Out(stream.Signature(self._ports * chunk)),
            "kv_request": In(stream.Signature(burst_layout(ratio))).array(self._ports),
            "kv_chunk": Out(stream.Signature(chunk)).array(self._ports),
            "write": In(stream.Signature(routed_write_layout(self._ports, ratio))),
            "writes_pending": Out(1), "error": Out(1),
            "hbm": Out(port_channels(address_bits(self._ports))).array(self._ports),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The ports, and what joins them."""
        m = Module()
        ports = [self._place_port(m, number) for number in range(self._ports)]
        self._connect_weights(m, ports)
        self._route_writes(m, ports)
        m.d.comb += self.writes_pending.eq(Cat(*(port.writes_pending for port in ports)).any())
        error = Signal(name="any_error")
        m.d.hbm += error.eq(Cat(*(port.error for port in ports)).any())
        m.d.sync += self.error.eq(synchronised(m, error, self._stages, "sync", "any_error"))
        return m

    def _place_port(self, m: Module, number: int) -> Any:
        """One port with its K/V streams and its number above its addresses."""
        port, outer = place(m, f"port_{number}", self._port), self.hbm[number]
        connect(m, flipped(self.kv_request[number]), port.kv_request)
        connect(m, port.kv_chunk, flipped(self.kv_chunk[number]))
        base = Const(number, len(outer.araddr) - PORT_ADDRESS_BITS)
        addresses = {name: Cat(getattr(port, name), base) for name in ("araddr", "awaddr")}
        connect_channels(m, port_channels(), outer, port, **addresses)
        return port

    def _connect_weights(self, m: Module, ports: list[Any]) -> None:
        weights = place(m, "weight_stream", self._weights)
        connect(m, flipped(self.operation), weights.operation)
        connect(m, weights.weights, flipped(self.weights))
        m.d.comb += self.done.eq(weights.done)
        for number, port in enumerate(ports):
            connect(m, weights.request[number], port.weight_request)
            connect(m, port.weight_chunk, weights.chunk[number])

    def _route_writes(self, m: Module, ports: list[Any]) -> None:
        """A chunk is offered to its port and waits for that one."""
        with m.Switch(self.write.payload.port):
            for number, port in enumerate(ports):
                with m.Case(number):
                    m.d.comb += [port.write.valid.eq(self.write.valid), self.write.ready.eq(port.write.ready)]
        m.d.comb += [port.write.payload.eq(self.write.payload.chunk) for port in ports]
