"""DDR4 write channel: AW, W and B of one channel, and the FIFO of the store engine."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.axi import DDR_SIZE, INCREMENT, OKAY, write_channels
from skipopu.hdl.ddr_burst import BEAT_BITS, BURST, BYTE_ADDRESS_BITS
from skipopu.hdl.fifo import Fifo
from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import DDR_BEAT_BYTES


class DdrWriteChannel(Block):
    """Write bursts, at most ``bursts`` unacknowledged; a burst is asked for when all its beats are in the FIFO.

    Parameters
    ----------
    bursts : most unacknowledged
    beats : that the FIFO holds; who writes has seen that there is room
    row_beats : beats written together; a divisor of ``beats``

    Ports
    -----
    row_valid (1), row : in, beats for the FIFO, the first one lowest
    credit : out, a burst may be unacknowledged
    write : in, stream of BURST; valid only with ``credit``, once its beats have been written
    sent : out, a beat leaves
    pending : out, a burst is unacknowledged
    error : out, a response was not OKAY; stays
    AW, W, B : out, AXI, ID 0; B is always taken

    Timing
    ------
    A request stands at AW in its own cycle. Its beats stand at W from the cycle after it was taken on, behind those of
    earlier bursts, one a cycle. A burst acknowledged in cycle t is unacknowledged up to t.
    """

    def __init__(self, *, bursts: int, beats: int, row_beats: int) -> None:
        self._bursts, self._beats, self._row = bursts, beats, row_beats
        super().__init__({
            "row_valid": In(1), "row": In(row_beats * BEAT_BITS), "credit": Out(1),
            "write": In(stream.Signature(BURST)), "sent": Out(1), "pending": Out(1), "error": Out(1),
            **write_channels(BYTE_ADDRESS_BITS, DDR_BEAT_BYTES).members,
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Credit, AW, W, B."""
        m = Module()
        asked, unacknowledged = Signal(name="asked"), Signal(range(self._bursts + 1), name="unacknowledged")
        m.d.sync += unacknowledged.eq(unacknowledged + asked - self._acknowledges())
        m.d.comb += [
            self.credit.eq(self._may_ask(unacknowledged)), self.pending.eq(unacknowledged.any()),
            asked.eq(self.awvalid & self.awready),
            self.awvalid.eq(self.write.valid), self.write.ready.eq(self.awready), self.awid.eq(0),
            self.awaddr.eq(self.write.payload.address << DDR_SIZE), self.awlen.eq(self.write.payload.beats - 1),
            self.awburst.eq(INCREMENT), self.awsize.eq(DDR_SIZE), self.bready.eq(1),
        ]  # fmt: skip
        m.d.sync += self.error.eq(self.error | (self.bvalid & (self.bresp != OKAY)))
        self._send(m, asked)
        self._data(m)
        return m

    def _acknowledges(self) -> Value:
        return self.bvalid

    def _may_ask(self, unacknowledged: Signal) -> Value:
        return unacknowledged < self._bursts

    def _send(self, m: Module, asked: Signal) -> None:
        """The lengths of bursts that were taken, and the beat of the first of them."""
        lengths = place(m, "lengths", Fifo(bits=len(self.awlen), depth=self._bursts))
        beat, last = Signal(len(self.awlen), name="beat_of_burst"), Signal(name="last_beat")
        m.d.comb += [
            lengths.write.eq(asked), lengths.write_data.eq(self.awlen), lengths.read.eq(self.sent & last),
            last.eq(self._is_last(beat, lengths.head)), self.wvalid.eq(~lengths.empty), self.wlast.eq(last),
            self.wstrb.eq((1 << DDR_BEAT_BYTES) - 1), self.sent.eq(self.wvalid & self.wready),
        ]  # fmt: skip
        with m.If(self.sent):
            m.d.sync += beat.eq(beat + 1)
            with m.If(last):
                m.d.sync += beat.eq(0)

    def _is_last(self, beat: Signal, length: Value) -> Value:
        return beat == length

    def _data(self, m: Module) -> None:
        """Rows in, beats out; the memory is read ahead."""
        rows = self._beats // self._row
        m.submodules.memory = memory = Memory(shape=self._row * BEAT_BITS, depth=rows, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        row_place, beat_place = Signal(index(rows), name="row_place"), Signal(index(self._beats), name="beat_place")
        following = Signal.like(beat_place, name="beat_place_next")
        m.d.comb += [
            write_port.en.eq(self.row_valid), write_port.addr.eq(row_place), write_port.data.eq(self.row),
            following.eq(beat_place + self.sent), read_port.en.eq(1), read_port.addr.eq(following // self._row),
            self.wdata.eq(read_port.data.word_select(beat_place % self._row, BEAT_BITS)),
        ]  # fmt: skip
        m.d.sync += [row_place.eq(row_place + self.row_valid), beat_place.eq(following)]
