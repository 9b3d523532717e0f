"""Bursts of the DDR4 channels, and how a transfer is cut into them."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.axi import DDR_SIZE
from skipopu.hdl.pipeline import named
from skipopu.hdl.verilog import Block
from skipopu.program.isa import WIDTH
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, DDR_BEAT_BYTES, DDR_CHANNELS

BEAT_BITS = DDR_BEAT_BYTES * 8
ADDRESS_BITS = WIDTH["address"] - (DDR_CHANNELS - 1).bit_length()  # of a beat in its channel; instructions count beats
BYTE_ADDRESS_BITS = ADDRESS_BITS + DDR_SIZE
BURST = data.StructLayout({"address": ADDRESS_BITS, "beats": range(AXI3_BURST_BEATS + 1)})
PAGE_BEATS = BOUNDARY // DDR_BEAT_BYTES


class DdrBursts(Block):
    """Cut a transfer into bursts of at most 16 beats, none of them over 4 KiB of the channel's addresses.

    Parameters
    ----------
    beat_bits : width of the number of beats of a transfer

    Ports
    -----
    start (1), address, beats : in, a transfer begins with the next cycle: its first beat, and how many of each channel
    burst : out, stream
    left : out, beats that no burst has been taken for

    Timing
    ------
    A burst a cycle.
    """

    def __init__(self, *, beat_bits: int) -> None:
        super().__init__({
            "start": In(1), "address": In(ADDRESS_BITS), "beats": In(beat_bits),
            "burst": Out(stream.Signature(BURST)), "left": Out(beat_bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Place and rest of the transfer."""
        m = Module()
        address, burst = Signal(ADDRESS_BITS, name="place"), self.burst.payload
        short = named(m, self._most(address), "most_beats", range(AXI3_BURST_BEATS + 1))
        m.d.comb += [
            self.burst.valid.eq(self.left.any()), burst.address.eq(address),
            burst.beats.eq(Mux(self.left < short, self.left, short)),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [address.eq(self.address), self.left.eq(self.beats)]
        with m.Elif(self.burst.valid & self.burst.ready):
            m.d.sync += [address.eq(address + burst.beats), self.left.eq(self.left - burst.beats)]
        return m

    def _most(self, address: Value) -> Value:
        """Beats of a burst from here on: up to the end of the page."""
        page = PAGE_BEATS - address[: (PAGE_BEATS - 1).bit_length()]
        return Mux(page < AXI3_BURST_BEATS, page, AXI3_BURST_BEATS)
