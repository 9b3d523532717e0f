"""Logistic function: σ(x) = 1 / (1 + e^−|x|), or e^−|x| times that below zero."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import ARGUMENT, EXPONENT, POWER, Exponential
from skipopu.hdl.npe.reciprocal import Reciprocal
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.numerics.silu import GONE


class Logistic(Unit):
    """σ(argument) as significand · 2^(exponent − 22) (`numerics.silu.logistic`).

    1 + e^−|x| lies in [1, 2]: it needs no normalisation. Below zero the reciprocal, 22 bits, times the power, 23 bits,
    takes two DSP48E2 (27 × 18 signed).

    Parameters
    ----------
    stages : latency in cycles of the steps of `Exponential`, add one, those of `Reciprocal`, multiply

    Ports
    -----
    argument (25, two's complement) : in, units of 2^−18, within ±32
    significand (23), exponent (7, two's complement) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Exponential.STEPS + 1 + Reciprocal.STEPS + 1

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"argument": In(ARGUMENT), "significand": Out(POWER), "exponent": Out(EXPONENT)})

    def elaborate(self, platform: Any) -> Module:
        """Power, one more, its reciprocal, and below zero their product."""
        m = Module()
        first, add, divide, last = shares((Exponential.STEPS, 1, Reciprocal.STEPS, 1), self._stages)
        below = named(m, self.argument < 0, "below")
        exponential = place(m, "exponential", Exponential(stages=first))
        m.d.comb += exponential.argument.eq(Mux(below, self.argument, -self.argument))
        reciprocal = place(m, "reciprocal", Reciprocal(stages=divide))
        one_more = named(m, self._one_more(exponential.significand, exponential.exponent), "one_more")
        m.d.comb += [
            reciprocal.significand.eq(Cat(Const(0, 1), delayed(m, one_more, add, "one_more"))),
            reciprocal.exponent.eq(0),
        ]
        wait = add + divide
        below = delayed(m, below, first + wait, "below")
        power = delayed(m, exponential.significand, wait, "power")
        exponent = delayed(m, exponential.exponent, wait, "exponent")
        product = named(m, reciprocal.found * power, "product")
        significand = named(m, Mux(below, product >> FRACTION_BITS, reciprocal.found)[:POWER], "chosen")
        m.d.comb += [
            self.significand.eq(delayed(m, significand, last, "significand")),
            self.exponent.eq(delayed(m, named(m, Mux(below, exponent, 0), "scale"), last, "scale")),
        ]
        return m

    def _one_more(self, power: Value, exponent: Value) -> Value:
        """1 + e^−|x| in units of 2^−22: the leading one of [1, 2) is the highest of 23 bits."""
        places = Mux(exponent < -GONE, GONE, -exponent)[: GONE.bit_length()]
        return ((1 << FRACTION_BITS) + (power >> places))[:POWER]
