"""Rescaling factor: by how much a total shrinks when the maximum of its row grows."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import LEAST_EXPONENT, POWER, PowerBelow
from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.spec.number_format import FP16

LEADING_ZEROS = 1  # most that a power has: its line may lie a little below 1


class RescalingFactor(Unit):
    """e^(previous − maximum) as FP32; exact, a power of 23 bits has room (`numerics.softmax.add_scores`).

    Parameters
    ----------
    stages : latency in cycles of the steps of `PowerBelow`

    Ports
    -----
    previous, maximum : in, FP16 · changed (1) : out, they are not the same · factor : out, FP32

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = PowerBelow.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({
            "previous": In(FP16.bits), "maximum": In(FP16.bits), "changed": Out(1), "factor": Out(FP32.bits)
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The power, its leading one put in place."""
        m = Module()
        power = place(m, "power", PowerBelow(stages=self._stages))
        most = -LEAST_EXPONENT
        limits = (-most - FRACTION_BITS, most - FRACTION_BITS)
        placed = place(m, "placed", Rounding(
            bits=POWER, zeros=LEADING_ZEROS, exponents=limits, format="fp32", stages=0
        ))  # fmt: skip
        changed = named(m, self.previous != self.maximum, "changed_now")
        m.d.comb += [
            power.score.eq(self.previous), power.maximum.eq(self.maximum),
            placed.magnitude.eq(power.significand), placed.exponent.eq(power.exponent - FRACTION_BITS),
            placed.negative.eq(0), placed.nan.eq(0), placed.infinite.eq(0),
            self.factor.eq(placed.result), self.changed.eq(delayed(m, changed, self._stages, "changed")),
        ]  # fmt: skip
        return m
