"""DDR4 ports: both channels as the load engine, the store engine and the instruction fetch use them."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import connect_channels, port_channels, read_channels, write_channels
from skipopu.hdl.ddr_burst import BEAT_BITS, BURST, BYTE_ADDRESS_BITS
from skipopu.hdl.ddr_read_channel import DdrReadChannel
from skipopu.hdl.ddr_write_channel import DdrWriteChannel
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS, STORE_BEATS, Overlay

WORD_BYTES = DDR_CHANNELS * DDR_BEAT_BYTES  # tensors are striped: a beat of channel 0, one of channel 1, …
FETCH_CHANNEL = 0
READ, WRITE = (flow(BYTE_ADDRESS_BITS, DDR_BEAT_BYTES) for flow in (read_channels, write_channels))


def row_words(overlay: Overlay) -> int:
    """Return the words that the store engine writes together: those of a wide row tile."""
    return max(overlay.tile_bytes // WORD_BYTES, 1)


class DdrPorts(Block):
    """A transfer asks all channels for the same burst at once; instructions come from channel 0 alone.

    Parameters
    ----------
    overlay : dma.ddr_beats, ddr_read_bursts, ddr_write_bursts, crossing_stages; pe_array.dot_length

    Ports
    -----
    read : in, stream of BURST, taken once all channels have taken it; who asks has seen that the FIFOs have room
    words : out, stream: a beat of every channel, that of channel 0 lowest
    fetch, fetch_words : in, stream of BURST; out, stream of beats, which must be ready
    row_valid (1), row : in, `row_words` words for the write FIFOs; who writes has seen that there is room
    write : in, stream of BURST, likewise, once its words have been written
    sent : out, a bit a channel: a beat leaves its write FIFO
    writes_pending : out, a write burst is unacknowledged
    error : out, a response was not OKAY; stays
    ddr : a channel each, AXI, core clock

    Timing
    ------
    A burst stands at AR or AW in the cycle in which it is asked for and every channel has a credit. Words see
    `DdrReadChannel`, W and B `DdrWriteChannel`.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, d = overlay, overlay.dma
        self._row = row_words(overlay)
        self._reads = [
            DdrReadChannel(
                bursts=d.ddr_read_bursts, beats=d.ddr_beats, stages=d.crossing_stages, fetch=channel == FETCH_CHANNEL
            )
            for channel in range(DDR_CHANNELS)
        ]  # fmt: skip
        self._write = DdrWriteChannel(bursts=d.ddr_write_bursts, beats=STORE_BEATS, row_beats=self._row)
        bursts = In(stream.Signature(BURST))
        super().__init__({
            "read": bursts, "words": Out(stream.Signature(WORD_BYTES * 8)),
            "fetch": bursts, "fetch_words": Out(stream.Signature(BEAT_BITS)),
            "row_valid": In(1), "row": In(self._row * WORD_BYTES * 8), "write": bursts, "sent": Out(DDR_CHANNELS),
            "writes_pending": Out(1), "error": Out(1),
            "ddr": Out(port_channels(BYTE_ADDRESS_BITS, DDR_BEAT_BYTES)).array(DDR_CHANNELS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Channels side by side."""
        m = Module()
        reads = [place(m, f"read_{channel}", block) for channel, block in enumerate(self._reads)]
        writes = [place(m, f"write_{channel}", self._write) for channel in range(DDR_CHANNELS)]
        for channel, (read, write) in enumerate(zip(reads, writes, strict=True)):
            connect_channels(m, READ, self.ddr[channel], read)
            connect_channels(m, WRITE, self.ddr[channel], write)
        self._ask_all(m, self.read, [(each.read, each.credit) for each in reads], "read")
        self._ask_all(m, self.write, [(each.write, each.credit) for each in writes], "write")
        connect(m, flipped(self.fetch), reads[FETCH_CHANNEL].fetch)
        connect(m, reads[FETCH_CHANNEL].word, flipped(self.fetch_words))
        self._words(m, reads)
        self._rows(m, writes)
        m.d.comb += [
            self.writes_pending.eq(Cat(*(each.pending for each in writes)).any()),
            self.error.eq(Cat(*(each.error for each in (*reads, *writes))).any()),
        ]  # fmt: skip
        return m

    def _ask_all(self, m: Module, asked: Any, channels: list[tuple[Any, Value]], name: str) -> None:
        """It begins when all have a credit; channels that have taken it wait for the others."""
        begun, goes, done = (Signal(name=f"{name}_{what}") for what in ("begun", "goes", "done"))
        taken, takes = (Signal(len(channels), name=f"{name}_{what}") for what in ("taken", "takes"))
        m.d.comb += [
            goes.eq(asked.valid & (begun | Cat(*(credit for _, credit in channels)).all())),
            done.eq(goes & self._all(taken | takes)), asked.ready.eq(done),
        ]  # fmt: skip
        for number, (channel, credit) in enumerate(channels):
            m.d.comb += [
                channel.valid.eq(goes & credit & ~taken[number]), channel.payload.eq(asked.payload),
                takes[number].eq(channel.valid & channel.ready),
            ]  # fmt: skip
        m.d.sync += [begun.eq(goes & ~done), taken.eq(Cat(taken | takes) & (goes & ~done).replicate(len(taken)))]

    def _all(self, taken: Value) -> Value:
        return taken.all()

    def _words(self, m: Module, reads: list[Any]) -> None:
        """A word is there when all its beats are."""
        beats = [each.beat for each in reads]
        m.d.comb += [
            self.words.valid.eq(Cat(*(beat.valid for beat in beats)).all()),
            self.words.payload.eq(Cat(*(beat.payload for beat in beats))),
            *(beat.ready.eq(self.words.valid & self.words.ready) for beat in beats),
        ]  # fmt: skip

    def _rows(self, m: Module, writes: list[Any]) -> None:
        """Every channel gets its beat of each word."""
        words = [self.row.word_select(word, WORD_BYTES * 8) for word in range(self._row)]
        for channel, write in enumerate(writes):
            m.d.comb += [
                write.row_valid.eq(self.row_valid), self.sent[channel].eq(write.sent),
                write.row.eq(Cat(*(word.word_select(channel, BEAT_BITS) for word in words))),
            ]  # fmt: skip
