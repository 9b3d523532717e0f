"""Semaphore check: signals and waits counted in program order, so that no program can upset a semaphore."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.status import STATUS, report
from skipopu.hdl.verilog import Block
from skipopu.program.isa import ENGINES
from skipopu.program.status import ENGINE_BITS, Condition

COUNT = len(ENGINES)


class SemaphoreCheck(Block):
    """Every signal adds one to its semaphore and every wait takes one, when their instruction is dispatched.

    Parameters
    ----------
    most : signals that may stand before their waits

    Ports
    -----
    start : in, a program begins: all semaphores are 0
    engine : in, a bit: the instruction's engine, none of HALT · wait, signal : in, its fields · ends : in, it is HALT
    fault : out, STATUS without the index: it waits before anything signals, signals too often, or ends the program
        with a signal left; of several semaphores that of the lowest source, then target
    dispatched : in, the instruction is counted

    Timing
    ------
    ``fault`` in the same cycle; counts change in the next.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        super().__init__({
            "start": In(1), "engine": In(COUNT), "wait": In(COUNT), "signal": In(COUNT), "ends": In(1),
            "fault": Out(STATUS), "dispatched": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A counter a semaphore, and the first that is upset."""
        m = Module()
        counts = [[self._counter(m, s, t) for t in range(COUNT)] for s in range(COUNT)]
        under = [self.engine[t] & self.wait[s] & self._is_zero(counts[s][t]) for s, t in _pairs()]
        over = [self.engine[s] & self.signal[t] & (counts[s][t] == self._most) for s, t in _pairs()]
        left = [self.ends & counts[s][t].any() for s, t in _pairs()]
        number = Signal(range(COUNT * COUNT), name="semaphore")
        source, target = Signal(ENGINE_BITS, name="source"), Signal(ENGINE_BITS, name="target")
        m.d.comb += [
            source.eq(Array(s for s, _ in _pairs())[number]), target.eq(Array(t for _, t in _pairs())[number])
        ]  # fmt: skip
        count = Array(counts[s][t] for s, t in _pairs())[number]
        ends = {"source": source, "target": target}
        with m.If(Cat(*under).any()):
            m.d.comb += [number.eq(_first(under)), *report(self.fault, Condition.SEMAPHORE_UNDERFLOW, **ends)]
        with m.Elif(Cat(*over).any()):
            m.d.comb += number.eq(_first(over))
            m.d.comb += report(self.fault, Condition.SEMAPHORE_OVERFLOW, **ends, count=count)
        with m.Elif(Cat(*left).any()):
            m.d.comb += number.eq(_first(left))
            m.d.comb += report(self.fault, Condition.SEMAPHORE_LEFT, **ends, count=count)
        return m

    def _counter(self, m: Module, source: int, target: int) -> Signal:
        count = Signal(range(self._most + 1), name=f"{ENGINES[source].label}_to_{ENGINES[target].label}")
        gives, takes = self.engine[source] & self.signal[target], self.engine[target] & self.wait[source]
        with m.If(self.start):
            m.d.sync += count.eq(0)
        with m.Elif(self.dispatched):
            m.d.sync += count.eq(count + gives - takes)
        return count

    def _is_zero(self, count: Signal) -> Value:
        return count == 0


def _pairs() -> list[tuple[int, int]]:
    """Source and target of every semaphore."""
    return [(source, target) for source in range(COUNT) for target in range(COUNT)]


def _first(bits: list[Value]) -> Value:
    """Number of the first bit that is set."""
    found: Value = Value.cast(len(bits) - 1)
    for number in reversed(range(len(bits) - 1)):
        found = Mux(bits[number], number, found)
    return found
