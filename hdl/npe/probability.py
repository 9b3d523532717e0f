"""Probability: e^(score − maximum) / total of one score on its way into the PE array."""

from typing import Any

from amaranth.hdl import Module, Value, signed
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import EXPONENT, PowerBelow
from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.reciprocal import EXPONENT as TOTAL_EXPONENT
from skipopu.hdl.npe.reciprocal import INVERSE, Reciprocal
from skipopu.hdl.npe.reciprocal import LEADING_ZEROS as INVERSE_ZEROS
from skipopu.hdl.npe.rescaling_factor import LEADING_ZEROS as POWER_ZEROS
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.spec.number_format import FP16

INVERSE_EXPONENT = signed(TOTAL_EXPONENT.width + 1)


class TotalReciprocal(Unit):
    """1 / total of a row as found · 2^(power − 22), for all lanes (`numerics.softmax.probabilities`).

    Parameters
    ----------
    stages : latency in cycles of the steps of `Reciprocal`

    Ports
    -----
    total : in, FP32, a normal number · inverse (22), exponent (10, two's complement) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Reciprocal.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"total": In(FP32.bits), "inverse": Out(INVERSE), "exponent": Out(INVERSE_EXPONENT)})

    def elaborate(self, platform: Any) -> Module:
        """Fields, then the table."""
        m = Module()
        total = fields(m, self.total, FP32, "total")
        reciprocal = place(m, "reciprocal", Reciprocal(stages=self._stages))
        m.d.comb += [
            reciprocal.significand.eq(total.significand), reciprocal.exponent.eq(total.exponent - FP32.bias),
            self.inverse.eq(reciprocal.found), self.exponent.eq(reciprocal.power),
        ]  # fmt: skip
        return m


class Probability(Unit):
    """e^(score − maximum) / total, rounded once (`numerics.softmax.probabilities`); NaN if the maximum is no number.

    The power, 23 bits, times the reciprocal, 22 bits, takes two DSP48E2 (27 × 18 signed).

    Parameters
    ----------
    power_stages : latency in cycles of the steps of `PowerBelow`
    divide_stages : of the steps multiply, count zeros, normalise, round

    Ports
    -----
    score, maximum : in, FP16 · inverse, exponent : in, of `TotalReciprocal`, ``power_stages`` later
    result : out, FP16

    Timing
    ------
    Latency ``power_stages`` + ``divide_stages``, initiation interval 1, no reset.
    """

    STEPS = PowerBelow.STEPS + 1 + Rounding.STEPS

    def __init__(self, *, power_stages: int, divide_stages: int) -> None:
        self._power, self._divide = power_stages, divide_stages
        super().__init__({
            "score": In(FP16.bits), "maximum": In(FP16.bits), "inverse": In(INVERSE), "exponent": In(INVERSE_EXPONENT),
            "result": Out(FP16.bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Power, product, rounding."""
        m = Module()
        multiply, rest = shares((1, Rounding.STEPS), self._divide)
        power = place(m, "power", PowerBelow(stages=self._power))
        product = named(m, power.significand * self.inverse, "product")
        exponent = named(m, power.exponent + self.exponent - 2 * FRACTION_BITS, "quotient_exponent")
        least, most = (
            sign * ((1 << EXPONENT.width - 1) + (1 << TOTAL_EXPONENT.width - 1)) - 2 * FRACTION_BITS for sign in (-1, 1)
        )
        rounding = place(m, "rounding", Rounding(
            bits=len(product), zeros=POWER_ZEROS + INVERSE_ZEROS + 1, exponents=(least, most), format="fp16",
            stages=rest,
        ))  # fmt: skip
        special = named(m, self._special(), "special")
        m.d.comb += [
            power.score.eq(self.score), power.maximum.eq(self.maximum),
            rounding.magnitude.eq(delayed(m, product, multiply, "product")),
            rounding.exponent.eq(delayed(m, exponent, multiply, "quotient_exponent")),
            rounding.nan.eq(delayed(m, special, self._power + multiply, "special")),
            rounding.infinite.eq(0), rounding.negative.eq(0), self.result.eq(rounding.result),
        ]  # fmt: skip
        return m

    def _special(self) -> Value:
        """The maximum is infinite or a NaN."""
        return self.maximum[FP16.fraction_bits : -1].all()
