"""The frontend with an engine of the simplest kind at each queue, and what a bench sees of it in a cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.engine_queue import RECORD
from skipopu.hdl.fifo import Fifo
from skipopu.hdl.frontend import Frontend
from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS, INSTRUCTION
from skipopu.hdl.instruction_fetch import BURST, PROGRAM_ADDRESS
from skipopu.hdl.retirement import RETIRED
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.status import STATUS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ENGINES, WIDTH
from skipopu.program.status import Memory
from skipopu.spec import ledger
from skipopu.spec.overlay import DDR_BEAT_BYTES, IN_FLIGHT, Overlay

WORK, FLIGHT = "rows", "operand"  # fields that say how long an engine works, and how long a product is in flight
SEEN = data.StructLayout({
    "burst_valid": 1, "burst": BURST, "running": 1, "cause": CAUSE, "blocked": len(ENGINES), "at_work": len(ENGINES),
    "retired_valid": 1, "retired": RETIRED, "lost": 1, "status": STATUS, "count": INDEX_BITS, "now": CYCLE_BITS,
})  # fmt: skip


class TimedEngine(Block):
    """Works as long as the instruction says; a product then stays in flight as long as it says.

    Parameters
    ----------
    flies : instructions leave the queue before they retire, at most `IN_FLIGHT` of them

    Ports
    -----
    at_work, head, record, now : in, from the queue
    leave, retire, retire_record : out

    Timing
    ------
    An instruction that begins in t leaves in t + work; it retires with that, or flight + 1 later.
    """

    def __init__(self, *, flies: bool) -> None:
        self._flies = flies
        super().__init__({
            "at_work": In(1), "head": In(INSTRUCTION), "record": In(RECORD), "now": In(CYCLE_BITS),
            "leave": Out(1), "retire": Out(1), "retire_record": Out(RECORD),
        })  # fmt: skip

    @property
    def module(self) -> str:
        """Two kinds."""
        return "flying_engine" if self._flies else "timed_engine"

    def elaborate(self, platform: Any) -> Module:
        """A counter."""
        m = Module()
        elapsed, room = Signal(WIDTH[WORK], name="elapsed"), Signal(name="room", init=1)
        m.d.comb += self.leave.eq(self.at_work & (elapsed >= self.head[WORK]) & room)
        m.d.sync += elapsed.eq(Mux(self.at_work & ~self.leave, elapsed + (~elapsed).any(), 0))
        if self._flies:
            self._fly(m, room)
        else:
            m.d.comb += [room.eq(1), self.retire.eq(self.leave), self.retire_record.eq(self.record)]
        return m

    def _fly(self, m: Module, room: Signal) -> None:
        """In order, one a cycle."""
        entry = data.StructLayout({"finish": CYCLE_BITS, "record": RECORD})
        queue = place(m, "flight", Fifo(bits=entry.size, depth=IN_FLIGHT))
        new, head, free = Signal(entry, name="new"), Signal(entry, name="oldest"), Signal(CYCLE_BITS, name="free")
        soonest = self.now + 1 + self.head[FLIGHT]
        m.d.comb += [
            new.finish.eq(Mux(soonest > free, soonest, free)), new.record.eq(self.record), queue.write.eq(self.leave),
            queue.write_data.eq(new), head.eq(queue.head), room.eq(~queue.full), self.retire_record.eq(head.record),
            self.retire.eq(~queue.empty & (head.finish == self.now)), queue.read.eq(self.retire),
        ]  # fmt: skip
        with m.If(self.leave):
            m.d.sync += free.eq(new.finish + 1)


class FrontendShell(Block):
    """`Frontend` with its engines.

    Parameters
    ----------
    overlay, watchdog : as there

    Ports
    -----
    start, address, count, words, memory_error : see `Frontend`
    burst_ready, retired_ready : in, the streams may move
    seen : out, everything else

    Timing
    ------
    None of its own.
    """

    def __init__(self, *, overlay: Overlay, watchdog: int) -> None:
        self._frontend = Frontend(overlay=overlay, watchdog=watchdog)
        super().__init__({
            "start": In(1), "address": In(PROGRAM_ADDRESS), "count": In(INDEX_BITS), "burst_ready": In(1),
            "words": In(stream.Signature(DDR_BEAT_BYTES * 8)), "retired_ready": In(1),
            "memory_error": In(len(Memory)), "seen": Out(SEEN),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Blocks and wires."""
        m = Module()
        inner = place(m, "frontend", self._frontend)
        connect(m, flipped(self.words), inner.words)
        for engine, block in enumerate(ENGINES):
            self._engine(m, inner, engine, block)
        s, retired = self.seen, inner.retire_stream
        m.d.comb += [
            inner.start.eq(self.start), inner.address.eq(self.address), inner.count.eq(self.count),
            inner.memory_error.eq(self.memory_error), inner.moves.eq(self.words.valid),
            inner.burst.ready.eq(self.burst_ready), retired.ready.eq(self.retired_ready),
            s.burst_valid.eq(inner.burst.valid), s.burst.eq(inner.burst.payload), s.running.eq(inner.running),
            s.cause.eq(inner.cause), s.blocked.eq(inner.blocked), s.at_work.eq(inner.begins | inner.begun),
            s.retired_valid.eq(retired.valid), s.retired.eq(retired.payload), s.lost.eq(inner.lost),
            s.status.eq(inner.status), s.count.eq(inner.retired), s.now.eq(inner.now),
        ]  # fmt: skip
        return m

    def _engine(self, m: Module, inner: Any, number: int, block: ledger.Block) -> None:
        engine = place(m, block.label, TimedEngine(flies=block == ledger.Block.PE_ARRAY))
        m.d.comb += [
            engine.at_work.eq(inner.begins[number] | inner.begun[number]), engine.head.eq(inner.head[number]),
            engine.record.eq(inner.record[number]), engine.now.eq(inner.now), inner.leave[number].eq(engine.leave),
            inner.retire[number].eq(engine.retire), inner.retire_record[number].eq(engine.retire_record),
        ]  # fmt: skip
