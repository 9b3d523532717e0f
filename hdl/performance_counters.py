"""Performance counters: cycles of every block by their cause, the ledger of the simulator."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import CYCLE_BITS
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.verilog import Block, place
from skipopu.spec import ledger


class CauseCounter(Block):
    """Cycles of one block by their cause, in distributed RAM: a cycle adds one to a single word.

    Ports
    -----
    start : in, all counters are 0 from the next cycle on
    counts, cause : in, the cycle counts, and as what
    asked : in · found : out, the counter of that cause, in the same cycle

    Timing
    ------
    What is counted shows in the next cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1), "counts": In(1), "cause": In(CAUSE), "asked": In(CAUSE), "found": Out(CYCLE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A memory, and which of its words were written since the start."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=CYCLE_BITS, depth=len(CAUSE), init=[])
        write, old, asked = memory.write_port(), memory.read_port(domain="comb"), memory.read_port(domain="comb")
        written = Signal(len(CAUSE), name="written")
        m.d.comb += [
            old.addr.eq(self.cause), write.addr.eq(self.cause), write.en.eq(self.counts),
            write.data.eq(self._counted(written, self.cause, old.data) + 1),
            asked.addr.eq(self.asked), self.found.eq(self._counted(written, self.asked, asked.data)),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += written.eq(0)
        with m.Elif(self.counts):
            m.d.sync += written.bit_select(self.cause, 1).eq(1)
        return m

    def _counted(self, written: Signal, cause: Value, word: Value) -> Value:
        """A word of the memory; what it holds of an earlier program does not count."""
        return Mux(written.bit_select(cause, 1), word, 0)


class PerformanceCounters(Block):
    """A `CauseCounter` for every block of the ledger.

    Ports
    -----
    start : in, all counters are 0 from the next cycle on
    running : in, the cycle counts
    causes : in, of every block, in the order of `spec.ledger.Block`
    block, cause : in · found : out, that counter, in the same cycle

    Timing
    ------
    What is counted shows in the next cycle.
    """

    def __init__(self) -> None:
        super().__init__({
            "start": In(1), "running": In(1), "causes": In(CAUSE).array(len(ledger.Block)),
            "block": In(range(len(ledger.Block))), "cause": In(CAUSE), "found": Out(CYCLE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """One a block, and who is asked."""
        m = Module()
        for block in ledger.Block:
            counter = place(m, block.label, CauseCounter())
            m.d.comb += [
                counter.start.eq(self.start), counter.counts.eq(self.running), counter.cause.eq(self.causes[block]),
                counter.asked.eq(self.cause),
            ]  # fmt: skip
            with m.If(self.block == block):
                m.d.comb += self.found.eq(counter.found)
        return m
