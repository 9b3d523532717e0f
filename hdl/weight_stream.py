"""Weight stream: bursts on every HBM port, their chunks side by side as the words that KER takes."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import DATA_BITS
from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.weight_requester import WeightRequester


def weights_layout(ratio: int) -> data.StructLayout:
    """A weight operation: chunk of every port where it begins, chunks that it takes of every port, at least 1."""
    address = burst_layout(ratio)["address"].width
    return data.StructLayout({"address": address, "sets": address})


class WeightStream(Block):
    """Ask all ports for the same chunks, each as fast as it can, and pop all FIFOs together.

    Parameters
    ----------
    ports : HBM ports
    ratio : HBM ticks of a core cycle = beats of a chunk, a power of two
    credit : chunks of a port that may be asked for and not yet popped

    Ports
    -----
    operation : in, stream
    done : out, the last burst of the last port is accepted in this cycle
    request : out, a port each, streams of bursts
    chunk : in, a port each, streams
    weights : out, stream of words, the chunk of port 0 lowest

    Timing
    ------
    First requests in the cycle after an operation was taken, the next operation is taken in the cycle after ``done``,
    at the earliest. A word a cycle.
    """

    def __init__(self, *, ports: int, ratio: int, credit: int) -> None:
        self._ports = ports
        self._requester = WeightRequester(ratio=ratio, credit=credit)
        chunk = ratio * DATA_BITS
        super().__init__({
            "operation": In(stream.Signature(weights_layout(ratio))), "done": Out(1),
            "request": Out(stream.Signature(burst_layout(ratio))).array(ports),
            "chunk": In(stream.Signature(chunk)).array(ports),
            "weights": Out(stream.Signature(ports * chunk)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Requesters and the common pop."""
        m = Module()
        start, active, popped = (Signal(name=name) for name in ("start", "active", "popped"))
        finished = Signal(self._ports, name="finished")
        m.d.comb += [
            self.operation.ready.eq(~active), start.eq(self.operation.valid & ~active),
            self.done.eq(active & finished.all()),
        ]  # fmt: skip
        m.d.sync += active.eq(start | (active & ~self.done))
        for port in range(self._ports):
            requester = place(m, f"requester_{port}", self._requester)
            connect(m, requester.request, flipped(self.request[port]))
            m.d.comb += [
                requester.start.eq(start), requester.address.eq(self.operation.payload.address),
                requester.chunks.eq(self.operation.payload.sets), requester.popped.eq(popped),
                finished[port].eq(requester.finished),
            ]  # fmt: skip
        self._align(m, popped)
        return m

    def _align(self, m: Module, popped: Signal) -> None:
        """A word is there when every port has its chunk."""
        m.d.comb += [
            self.weights.valid.eq(Cat(*(chunk.valid for chunk in self.chunk)).all()),
            self.weights.payload.eq(Cat(*(chunk.payload for chunk in self.chunk))),
            popped.eq(self.weights.valid & self.weights.ready),
        ]  # fmt: skip
        for port, chunk in enumerate(self.chunk):
            m.d.comb += chunk.ready.eq(self._pops(port, popped))

    def _pops(self, port: int, popped: Signal) -> Signal:
        return popped
