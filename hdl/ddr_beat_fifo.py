"""Beat FIFO: what a DDR4 channel has read and the load engine has not taken."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.ddr_burst import BEAT_BITS
from skipopu.hdl.kv_layout import index
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.verilog import Block


class DdrBeatFifo(Block):
    """Block RAM; whoever asks for beats has seen that there is room.

    Parameters
    ----------
    beats : depth
    stages : cycles from a beat's arrival until it can be taken, at least 2

    Ports
    -----
    write (1), beat : in, a beat arrives
    read : out, stream of beats

    Timing
    ------
    A beat that arrives in cycle t stands at the output from t + ``stages`` on.
    """

    def __init__(self, *, beats: int, stages: int) -> None:
        self._beats, self._stages = beats, stages
        super().__init__({"write": In(1), "beat": In(BEAT_BITS), "read": Out(stream.Signature(BEAT_BITS))})

    def elaborate(self, platform: Any) -> Module:
        """The memory is read ahead: what stands at the output was read in the cycle before."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=BEAT_BITS, depth=self._beats, init=[])
        write_port, read_port = memory.write_port(), memory.read_port()
        taken, level = Signal(name="taken"), Signal(range(self._beats + 1), name="level")
        known = in_flight(m, self.write, self._stages - 1, "known")[-1]
        m.d.sync += level.eq(level + known - taken)
        write_place, _ = self._pointer(m, "write_place", self.write)
        _, following = self._pointer(m, "read_place", taken)
        m.d.comb += [
            write_port.en.eq(self.write), write_port.addr.eq(write_place), write_port.data.eq(self.beat),
            read_port.en.eq(1), read_port.addr.eq(following),
            self.read.valid.eq(level.any()), self.read.payload.eq(read_port.data),
            taken.eq(self.read.valid & self.read.ready),
        ]  # fmt: skip
        return m

    def _pointer(self, m: Module, name: str, step: Value) -> tuple[Signal, Signal]:
        """A counter modulo the depth: as it is, and as it will be in the next cycle."""
        place, following = (Signal(index(self._beats), name=each) for each in (name, f"{name}_next"))
        last = place == self._beats - 1
        m.d.comb += following.eq(Mux(step, Mux(last, 0, place + 1), place))
        m.d.sync += place.eq(following)
        return place, following
