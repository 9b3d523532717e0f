"""Chunk FIFO: what an HBM port delivers in a core cycle, gathered from beats and carried into the core clock."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.async_fifo import AsyncFifo, fifo_depth
from skipopu.hdl.axi import DATA_BITS
from skipopu.hdl.verilog import Block, place


class ChunkFifo(Block):
    """Gather ``ratio`` beats to a chunk, the first lowest, and take chunks to the core clock.

    Parameters
    ----------
    chunks : chunks that fit, the credit of whoever asks for them
    ratio : HBM ticks of a core cycle = beats of a chunk, a power of two
    stages : core cycles of the crossing: the flip-flops of the synchroniser and the output register

    Ports
    -----
    beat, beat_valid : in, HBM clock; always taken
    chunk : out, core clock, stream

    Timing
    ------
    A chunk whose last beat comes in tick k stands at the output from core cycle (k + 1) // ratio + stages on, unless
    others are before it; after a transfer the next stands there in the next cycle.
    """

    def __init__(self, *, chunks: int, ratio: int, stages: int) -> None:
        self._ratio = ratio
        self._fifo = AsyncFifo(
            width=ratio * DATA_BITS, depth=fifo_depth(chunks), stages=stages - 1, write_domain="hbm",
            read_domain="sync", ahead=True,
        )  # fmt: skip
        self._chunks = chunks
        chunk = stream.Signature(ratio * DATA_BITS)
        super().__init__({"beat": In(DATA_BITS), "beat_valid": In(1), "chunk": Out(chunk)})

    @property
    def module(self) -> str:
        """One module a size."""
        return f"chunk_fifo_{self._chunks}"

    def elaborate(self, platform: Any) -> Module:
        """All beats but a chunk's last wait in a register."""
        m = Module()
        fifo = place(m, "fifo", self._fifo)
        connect(m, fifo.read, flipped(self.chunk))
        last, earlier = self._gather(m) if self._ratio > 1 else (self.beat_valid, Cat())
        m.d.comb += [fifo.write.eq(self.beat_valid & last), fifo.write_data.eq(Cat(earlier, self.beat))]
        return m

    def _gather(self, m: Module) -> tuple[Value, Signal]:
        """Shift beats in from above; return whether this one is a chunk's last, and those before it."""
        count = Signal(range(self._ratio), name="beat_of_chunk")
        earlier = Signal((self._ratio - 1) * DATA_BITS, name="earlier_beats", reset_less=True)
        with m.If(self.beat_valid):
            m.d.hbm += [count.eq(count + 1), earlier.eq(Cat(earlier, self.beat)[DATA_BITS:])]
        return count == self._ratio - 1, earlier
