"""Program run: from start to the last retirement; the cycle count, the watchdog, and the first error."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS
from skipopu.hdl.pipeline import named
from skipopu.hdl.status import STATUS, report
from skipopu.hdl.verilog import Block
from skipopu.program.isa import ENGINES
from skipopu.program.status import Condition, Memory


class ProgramRun(Block):
    """A program runs until every instruction that was dispatched has retired, or nothing moves any more.

    Parameters
    ----------
    watchdog : cycles in which nothing moves before that is an error

    Ports
    -----
    start : in, a program begins with the next cycle
    dispatched : in, an instruction is dispatched, or HALT passes · halt : in, it is HALT · retire : in, a bit an engine
    active : in, the sequencer has not halted · fault : in, STATUS of this cycle
    memory_error : in, a bit a `Memory`: one of its responses was not OKAY; may stay
    moves : in, something moves in this cycle: a beat, a row, a chunk
    running : out, from the cycle after ``start`` up to the last retirement
    now : out, the cycle, 0 in the first; how long the program ran, once it has ended
    retired : out, instructions, HALT included
    status : out, the first error since ``start`` · error : out, there is one
    ended : out, the last cycle of the run

    Timing
    ------
    An error shows in the cycle after it. The run goes on until what was dispatched has retired.
    """

    def __init__(self, *, watchdog: int) -> None:
        self._watchdog = watchdog
        super().__init__({
            "start": In(1), "dispatched": In(1), "halt": In(1), "retire": In(len(ENGINES)), "active": In(1),
            "fault": In(STATUS), "memory_error": In(len(Memory)), "moves": In(1),
            "running": Out(1), "now": Out(CYCLE_BITS), "retired": Out(INDEX_BITS), "status": Out(STATUS),
            "error": Out(1), "ended": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Counters, and what ends the run."""
        m = Module()
        retiring = named(m, sum(self.retire[e] for e in range(len(ENGINES))) + self.halt, "retiring")
        left, left_after = Signal(INDEX_BITS, name="left"), Signal(INDEX_BITS, name="left_after")
        dead = self._watch(m)
        fault = self._error(m, dead)
        stops = named(m, ~self.active | self.halt | fault, "stops")
        m.d.comb += [
            left_after.eq(left + self.dispatched - retiring),
            self.ended.eq(self.running & ((stops & self._is_over(left_after)) | dead)),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [self.running.eq(1), self.now.eq(0), self.retired.eq(0), left.eq(0)]
        with m.Elif(self.running):
            m.d.sync += [
                self.running.eq(~self.ended), self.now.eq(self.now + 1), self.retired.eq(self.retired + retiring),
                left.eq(left_after),
            ]  # fmt: skip
        return m

    def _is_over(self, left: Signal) -> Value:
        return left == 0

    def _watch(self, m: Module) -> Signal:
        """Count the cycles since something moved."""
        still, dead = Signal(range(self._watchdog + 1), name="still"), Signal(name="dead")
        moved = named(m, self.moves | self.retire.any() | self.halt, "moved")
        m.d.comb += dead.eq(self.running & ~moved & (still == self._watchdog))
        m.d.sync += still.eq(Mux(moved | ~self.running, 0, still + 1))
        return dead

    def _error(self, m: Module, dead: Signal) -> Signal:
        """Keep the first; return whether the sequencer stops in this cycle."""
        new = Signal(STATUS, name="new")
        with m.If(self.fault.code != Condition.OK):
            m.d.comb += new.eq(self.fault)
        with m.Elif(self.memory_error.any()):
            memory = Mux(self.memory_error[Memory.HBM], Memory.HBM, Memory.DDR4)
            m.d.comb += report(new, Condition.MEMORY_ERROR, memory=memory)
        with m.Elif(dead):
            m.d.comb += report(new, Condition.DEADLOCK, cycles=self._watchdog)
        found = named(m, new.code != Condition.OK, "found")
        m.d.comb += self.error.eq(self.status.code != Condition.OK)
        with m.If(self.start):
            m.d.sync += self.status.eq(0)
        with m.Elif(self.running & found & ~self.error):
            m.d.sync += self.status.eq(new)
        return named(m, self.fault.code != Condition.OK, "faulty")
