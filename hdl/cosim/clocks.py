"""Core and HBM clock under cocotb, aligned without a race."""

from typing import Any

from cocotb.handle import Immediate
from cocotb.triggers import Timer

LOW, HIGH = LEVELS = Immediate(0), Immediate(1)


class Clocks:
    """Both clocks of one source: the edge that ends the last tick of a core cycle ends that too.

    Nothing else drives the clocks, and all writes of a step are made at once, before the simulator evaluates it: edges
    of both clocks are one evaluation, in which every register sees what the others held before.
    """

    def __init__(self, dut: Any, ratio: int) -> None:
        self._core, self._hbm, self._ratio = dut.clk, dut.hbm_clk, ratio
        self._step, self._ticks = Timer(1, unit="ns"), 0

    async def settle(self) -> None:
        """Lower both clocks and let what was written reach the outputs."""
        self._core.set(LOW)
        self._hbm.set(LOW)
        await self._step

    async def edge(self) -> None:
        """End the tick."""
        self._ticks += 1
        self._hbm.set(HIGH)
        if self._ticks % self._ratio == 0:
            self._core.set(HIGH)
        await self._step


async def reset(dut: Any, clocks: Clocks, ticks: int) -> None:
    """Hold both domains in reset for ``ticks`` ticks, whole core cycles; the next one is tick 0 of cycle 0."""
    for level in (1, 0):
        for pin in (dut.rst, dut.hbm_rst):
            pin.set(LEVELS[level])
        for _ in range(ticks * level):
            await clocks.settle()
            await clocks.edge()
