"""Write data: chunks of the core as beats of the W channel."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.axi import DATA_BITS
from skipopu.hdl.verilog import Block
from skipopu.spec.overlay import HBM_BEAT_BYTES


class WriteData(Block):
    """Keep the chunks of bursts until AW asks for theirs, then send them beat by beat.

    The pointers need not cross: a burst is asked for after its data were written, and its acknowledgement, a credit of
    whoever writes, comes after they were read.

    Parameters
    ----------
    chunks : chunks that fit, a power of two
    bursts : bursts that fit
    ratio : HBM ticks of a core cycle = beats of a chunk, a power of two

    Ports
    -----
    write, chunk, last : in, core clock: a chunk is written, the last of its burst
    start : in, HBM clock: the next burst stands at AW from the next tick on
    W : out, AXI3, HBM clock

    Timing
    ------
    The first beat stands at W in the tick after ``start``, or in the tick after the last beat of the burst before it
    was taken. A beat a tick.
    """

    def __init__(self, *, chunks: int, bursts: int, ratio: int) -> None:
        self._chunks, self._bursts, self._ratio = chunks, bursts, ratio
        super().__init__({
            "write": In(1), "chunk": In(ratio * DATA_BITS), "last": In(1), "start": In(1),
            "wdata": Out(DATA_BITS), "wstrb": Out(HBM_BEAT_BYTES), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Memory, beats of a chunk, output register."""
        m = Module()
        taken, burst_done, load = (Signal(name=name) for name in ("taken", "burst_done", "load"))
        chunk, last_chunk, chunk_done = self._memory(m)
        beat, last_beat = self._beat(m, chunk, taken)
        due = self._due(m, burst_done)
        m.d.comb += [
            load.eq(~self.wvalid | self.wready), taken.eq(load & self._may_send(due)),
            chunk_done.eq(taken & last_beat), burst_done.eq(chunk_done & last_chunk),
            self.wstrb.eq((1 << HBM_BEAT_BYTES) - 1),
        ]  # fmt: skip
        data = Signal(DATA_BITS, name="wdata_register", reset_less=True)
        m.d.comb += self.wdata.eq(data)
        with m.If(load):
            m.d.hbm += [self.wvalid.eq(taken), data.eq(beat), self.wlast.eq(self._ends(last_chunk, last_beat))]
        return m

    def _memory(self, m: Module) -> tuple[Value, Value, Signal]:
        """LUT RAM: return the oldest chunk, whether it is its burst's last, and what moves on to the next."""
        m.submodules.memory = memory = Memory(shape=len(self.chunk) + 1, depth=self._chunks, init=[])
        write_port, read_port = memory.write_port(domain="sync"), memory.read_port(domain="comb")
        done, word = Signal(name="chunk_done"), Signal(len(self.chunk) + 1, name="word")
        places = [Signal(range(self._chunks), name=name) for name in ("write_place", "read_place")]
        m.d.comb += [write_port.en.eq(self.write), write_port.data.eq(Cat(self.chunk, self.last))]
        m.d.comb += [port.addr.eq(each) for port, each in zip((write_port, read_port), places, strict=True)]
        m.d.comb += word.eq(read_port.data)
        m.d.sync += places[0].eq(places[0] + self.write)
        m.d.hbm += places[1].eq(places[1] + done)
        return word[:-1], word[-1], done

    def _beat(self, m: Module, chunk: Value, taken: Signal) -> tuple[Value, Value]:
        """The beat that is next, and whether it is the chunk's last."""
        if self._ratio == 1:
            return chunk, Const(1, 1)
        number, beat = Signal(range(self._ratio), name="beat_of_chunk"), Signal(DATA_BITS, name="beat")
        m.d.hbm += number.eq(number + taken)
        with m.Switch(number):
            for place in range(self._ratio):
                with m.Case(place):
                    m.d.comb += beat.eq(chunk[place * DATA_BITS : (place + 1) * DATA_BITS])
        return beat, number == self._ratio - 1

    def _due(self, m: Module, burst_done: Signal) -> Signal:
        """Bursts that stand or have stood at AW and whose data have not all been sent."""
        due = Signal(range(self._bursts + 1), name="bursts_due")
        m.d.hbm += due.eq(due + self.start - burst_done)
        return due

    def _may_send(self, due: Signal) -> Value:
        return due.any() | self.start

    def _ends(self, last_chunk: Value, last_beat: Value) -> Value:
        return last_chunk & last_beat
