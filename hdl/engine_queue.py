"""Engine queue: instructions of one engine in order; the head begins when its semaphores are met."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS, INSTRUCTION
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ENGINES

ENTRY = data.StructLayout({"index": INDEX_BITS, "instruction": INSTRUCTION})
# what the head leaves behind for its retirement
RECORD = data.StructLayout({
    "index": INDEX_BITS,
    "issue": CYCLE_BITS,  # cycle in which it came to the head
    "first": CYCLE_BITS,  # cycle in which it began
    "signal": len(ENGINES),
})  # fmt: skip


class EngineQueue(Block):
    """A queue of instructions and the state of its head: waits for its semaphores, works, leaves.

    Parameters
    ----------
    depth : instructions, those on their way from the sequencer included

    Ports
    -----
    dispatched : in, an instruction is on its way: it counts from the next cycle on
    write, instruction, index : in, it comes
    level : out, instructions that were dispatched and have not left, as the cycle begins
    available : in, semaphores from each engine to this one that are not 0 · take : out, one of each is taken
    now : in, cycle
    head : out, steady from the cycle after ``write``, or after the one before it has left, until it leaves
    waiting : out, there is a head
    begins : out, in this cycle all its semaphores are met · running : out, it began in an earlier cycle
    blocked : out, it waits for a semaphore
    leave : in, with ``begins`` or ``running``: the head leaves with this cycle
    record : out, of the head, with ``begins`` or ``running``

    Timing
    ------
    Written in cycle t, the head begins in t + 1 at the earliest; the next one in the cycle after it left.
    """

    def __init__(self, *, depth: int) -> None:
        self._depth, semaphores = depth, len(ENGINES)
        super().__init__({
            "dispatched": In(1), "write": In(1), "instruction": In(INSTRUCTION), "index": In(INDEX_BITS),
            "level": Out(range(depth + 1)), "available": In(semaphores), "take": Out(semaphores), "now": In(CYCLE_BITS),
            "head": Out(INSTRUCTION), "waiting": Out(1), "begins": Out(1), "running": Out(1), "blocked": Out(1),
            "leave": In(1), "record": Out(RECORD),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Entries, their number, and how far the head is."""
        m = Module()
        head = self._entries(m)
        m.d.sync += self.level.eq(self.level + self.dispatched - self.leave)
        met = Signal(name="met")
        m.d.comb += [
            met.eq(self._is_met(head.instruction.wait)),
            self.begins.eq(self.waiting & ~self.running & met), self.blocked.eq(self.waiting & ~self.running & ~met),
            self.take.eq(Mux(self.begins, head.instruction.wait, 0)),
        ]  # fmt: skip
        m.d.sync += self.running.eq((self.running | self.begins) & ~self.leave)
        self._record(m, head)
        return m

    def _is_met(self, wait: Value) -> Value:
        return (wait & ~self.available) == 0

    def _entries(self, m: Module) -> Any:
        """The queue; return its head."""
        queue = place(m, "queue", Fifo(bits=ENTRY.size, depth=self._depth))
        new, head = Signal(ENTRY, name="new"), Signal(ENTRY, name="entry")
        m.d.comb += [
            new.index.eq(self.index), new.instruction.eq(self.instruction), head.eq(queue.head),
            queue.write.eq(self.write), queue.write_data.eq(new), queue.read.eq(self.leave),
            self.waiting.eq(~queue.empty), self.head.eq(head.instruction),
        ]  # fmt: skip
        return head

    def _record(self, m: Module, head: Any) -> None:
        """When it came to the head, and when it began."""
        seen = Signal(name="seen")
        issue, first = Signal(CYCLE_BITS, name="issue"), Signal(CYCLE_BITS, name="first")
        m.d.sync += seen.eq(self.waiting & ~self.leave)
        with m.If(self._comes(seen)):
            m.d.sync += issue.eq(self.now)
        with m.If(self.begins):
            m.d.sync += first.eq(self.now)
        m.d.comb += [
            self.record.index.eq(head.index), self.record.signal.eq(head.instruction.signal),
            self.record.issue.eq(Mux(seen, issue, self.now)),
            self.record.first.eq(Mux(self.running, first, self.now)),
        ]  # fmt: skip

    def _comes(self, seen: Signal) -> Value:
        return ~seen
