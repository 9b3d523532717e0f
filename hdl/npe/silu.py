"""SiLU: x · σ(x), rounded once."""

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import ARGUMENT, EXPONENT, FixedArgument
from skipopu.hdl.npe.fields import fields, scale
from skipopu.hdl.npe.logistic import Logistic
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.spec.number_format import FP16


class TimesLogistic(Unit):
    """x · σ(argument) as FP16 (`numerics.silu.times_logistic`); NaN stays, −∞ gives −0, ∞ stays.

    σ, 23 bits, times the significand of x, 11 bits, is one DSP48E2 (27 × 18 signed).

    Parameters
    ----------
    stages : latency in cycles of the steps of `Logistic`, multiply, count zeros, normalise, round

    Ports
    -----
    number : in, x, FP16 · argument (25, two's complement) : in, units of 2^−18, within ±32
    result : out, FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Logistic.STEPS + 1 + Rounding.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP16.bits), "argument": In(ARGUMENT), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """The logistic function beside a delay line for x."""
        m = Module()
        first, multiply, last = shares((Logistic.STEPS, 1, Rounding.STEPS), self._stages)
        logistic = place(m, "logistic", Logistic(stages=first))
        m.d.comb += logistic.argument.eq(self.argument)
        number = fields(m, delayed(m, self.number, first, "number"), FP16, "number")
        significand = named(m, Mux(number.infinite, 0, number.significand), "factor")
        product = named(m, significand * logistic.significand, "product")
        offset = scale(FP16) - FRACTION_BITS
        limits = (offset - (1 << EXPONENT.width - 1), offset + (1 << FP16.exponent_bits))
        rounding = place(m, "rounding", Rounding(
            bits=len(product), zeros=len(product) - 1, exponents=limits, format="fp16", stages=last
        ))  # fmt: skip
        values = {
            "magnitude": product, "exponent": number.exponent + logistic.exponent + offset,
            "negative": number.negative, "nan": number.nan, "infinite": number.infinite & ~number.negative,
        }  # fmt: skip
        for name, value in values.items():
            port = getattr(rounding, name)
            m.d.comb += port.eq(delayed(m, named(m, value, f"{name}_now", port.shape()), multiply, name))
        m.d.comb += self.result.eq(rounding.result)
        return m


class Silu(Unit):
    """x · σ(x) of FP16 numbers (`numerics.silu.silu_fp16`), in six DSP48E2: the parts say what they multiply.

    Parameters
    ----------
    stages : latency in cycles of the steps of `FixedArgument` and `TimesLogistic`

    Ports
    -----
    number : in, FP16 · result : out, FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = FixedArgument.STEPS + TimesLogistic.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP16.bits), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """x as an argument, and x."""
        m = Module()
        first, rest = shares((FixedArgument.STEPS, TimesLogistic.STEPS), self._stages)
        fixed = place(m, "fixed", FixedArgument(stages=first))
        times = place(m, "times", TimesLogistic(stages=rest))
        m.d.comb += [
            fixed.number.eq(self.number), times.argument.eq(fixed.argument),
            times.number.eq(delayed(m, self.number, first, "number")), self.result.eq(times.result),
        ]  # fmt: skip
        return m
