"""Semaphores: one counter for every ordered pair of engines."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.verilog import Block
from skipopu.program.isa import ENGINES, SEMAPHORE_BITS


class Semaphores(Block):
    """Counters of signals given and not yet taken; the sequencer's checks see to it that none over- or underflows.

    Ports
    -----
    give : in, of each engine, the engines that it signals in this cycle
    take : in, of each engine, the engines of which it takes a signal; only what is ``available``
    available : out, of each engine, the engines that have signalled it, as the cycle begins

    Timing
    ------
    A signal given in cycle t can be taken in t + 1.
    """

    def __init__(self) -> None:
        masks = In(len(ENGINES)).array(len(ENGINES))
        super().__init__({"give": masks, "take": masks, "available": Out(len(ENGINES)).array(len(ENGINES))})

    def elaborate(self, platform: Any) -> Module:
        """A counter a pair."""
        m = Module()
        for source, given in zip(ENGINES, self.give, strict=True):
            for target, taken in zip(ENGINES, self.take, strict=True):
                count = Signal(SEMAPHORE_BITS, name=f"{source.label}_to_{target.label}")
                at = ENGINES.index(source), ENGINES.index(target)
                m.d.sync += count.eq(self._after(count, given[at[1]], taken[at[0]]))
                m.d.comb += self.available[at[1]][at[0]].eq(count.any())
        return m

    def _after(self, count: Signal, given: Value, taken: Value) -> Value:
        return count + given - taken
