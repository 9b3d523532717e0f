"""DDR4 read channel: AR and R of one channel, between load engine and instruction fetch on one side and AXI."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import DDR_SIZE, INCREMENT, OKAY, read_channels
from skipopu.hdl.ddr_beat_fifo import DdrBeatFifo
from skipopu.hdl.ddr_burst import BEAT_BITS, BURST, BYTE_ADDRESS_BITS
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import DDR_BEAT_BYTES

DATA, FETCH = 0, 1  # AXI IDs


class DdrReadChannel(Block):
    """Ask for bursts, at most ``bursts`` outstanding, the load engine's first; sort the beats that come by their ID.

    Parameters
    ----------
    bursts : most outstanding, of both together
    beats : that the load engine's FIFO holds; who asks for a burst has seen that there is room
    stages : cycles from R until a beat can be taken
    fetch : instructions come from this channel too

    Ports
    -----
    credit : out, a burst may be outstanding
    read : in, stream of BURST, of the load engine; valid only with ``credit``
    beat : out, stream of its beats
    fetch, word : in, stream of BURST; out, stream of its beats, which must be ready
    error : out, a response was not OKAY; stays
    AR, R : out, AXI; ID 0 is the load engine's, 1 the fetch's; R is always taken

    Timing
    ------
    A request stands at AR in its own cycle; one a cycle, where both want one the fetch waits. A burst whose last beat
    comes in cycle t is outstanding up to t. A beat that comes in cycle t can be taken from t + ``stages`` on.
    """

    def __init__(self, *, bursts: int, beats: int, stages: int, fetch: bool) -> None:
        self._bursts, self._beats, self._stages, self._fetch = bursts, beats, stages, fetch
        requests, words = In(stream.Signature(BURST)), Out(stream.Signature(BEAT_BITS))
        super().__init__({
            "credit": Out(1), "read": requests, "beat": words, **({"fetch": requests, "word": words} if fetch else {}),
            "error": Out(1), **read_channels(BYTE_ADDRESS_BITS, DDR_BEAT_BYTES).members,
        })  # fmt: skip

    @property
    def module(self) -> str:
        """The one with instructions has another name."""
        return "ddr_read_channel_with_fetch" if self._fetch else "ddr_read_channel"

    def elaborate(self, platform: Any) -> Module:
        """Credit, AR, R."""
        m = Module()
        outstanding = Signal(range(self._bursts + 1), name="outstanding")
        m.d.sync += outstanding.eq(outstanding + (self.arvalid & self.arready) - self._ends())
        m.d.comb += self.credit.eq(self._may_ask(outstanding))
        burst = self._arbitrate(m) if self._fetch else self._ask_alone(m)
        m.d.comb += [
            self.araddr.eq(burst.address << DDR_SIZE), self.arlen.eq(burst.beats - 1),
            self.arburst.eq(INCREMENT), self.arsize.eq(DDR_SIZE), self.rready.eq(1),
        ]  # fmt: skip
        m.d.sync += self.error.eq(self.error | (self.rvalid & (self.rresp != OKAY)))
        self._receive(m)
        return m

    def _ends(self) -> Value:
        return self.rvalid & self.rlast

    def _may_ask(self, outstanding: Signal) -> Value:
        return outstanding < self._bursts

    def _ask_alone(self, m: Module) -> Any:
        m.d.comb += [self.arvalid.eq(self.read.valid), self.read.ready.eq(self.arready), self.arid.eq(DATA)]
        return self.read.payload

    def _arbitrate(self, m: Module) -> Any:
        """The fetch goes where the load engine has no request, and stays until it is taken."""
        held, fetches, burst = Signal(name="fetch_held"), Signal(name="fetches"), Signal(BURST, name="burst")
        m.d.comb += [
            fetches.eq(self._fetch_goes(held)), self.arid.eq(Mux(fetches, FETCH, DATA)),
            self.arvalid.eq(Mux(fetches, self.fetch.valid & self.credit, self.read.valid)),
            burst.eq(Mux(fetches, self.fetch.payload, self.read.payload)),
            self.read.ready.eq(self.arready & ~fetches), self.fetch.ready.eq(self.arready & fetches & self.credit),
        ]  # fmt: skip
        m.d.sync += held.eq(fetches & self.arvalid & ~self.arready)
        return burst

    def _fetch_goes(self, held: Signal) -> Value:
        return held | ~self.read.valid

    def _receive(self, m: Module) -> None:
        """A FIFO for the load engine; the fetch's beats are taken as they come."""
        fifo = place(m, "fifo", DdrBeatFifo(beats=self._beats, stages=self._stages))
        connect(m, fifo.read, flipped(self.beat))
        m.d.comb += [fifo.write.eq(self._is_for(DATA)), fifo.beat.eq(self.rdata)]
        if self._fetch:
            arrives = named(m, self._is_for(FETCH), "word_arrives")
            m.d.comb += [
                self.word.valid.eq(in_flight(m, arrives, self._stages, "word_valid")[-1]),
                self.word.payload.eq(delayed(m, self.rdata, self._stages, "word")),
            ]  # fmt: skip

    def _is_for(self, identifier: int) -> Value:
        return self.rvalid & (self.rid == identifier)
