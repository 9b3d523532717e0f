"""Floating-point multiplier: IEEE 754 multiplication of two formats into a third, rounded once."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import Fields, fields, scale
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.spec.number_format import FORMATS


class FloatMultiplier(Unit):
    """a · b with subnormals, infinities and NaN (`numerics.multiplication.multiply`).

    The significands are multiplied 11 × 11 (FP16 by FP16) or 24 × 11 (FP32 by FP16) bits in one DSP48E2 (27 × 18
    signed), 24 × 24 (FP32 by FP32) in two.

    Parameters
    ----------
    a_format, b_format, format : "fp32" or "fp16", of a, b and the result
    stages : latency in cycles of the steps multiply, count zeros, normalise, round

    Ports
    -----
    a, b : in · result : out, numbers of their formats; zeros keep the sign, NaN is canonical

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 1 + Rounding.STEPS

    def __init__(self, *, a_format: str, b_format: str, format: str, stages: int) -> None:
        self._a, self._b, self._format, self._stages = FORMATS[a_format], FORMATS[b_format], format, stages
        super().__init__({"a": In(self._a.bits), "b": In(self._b.bits), "result": Out(FORMATS[format].bits)})

    def elaborate(self, platform: Any) -> Module:
        """Product of the significands, sum of the exponents, one rounding."""
        m = Module()
        first, rest = shares((1, Rounding.STEPS), self._stages)
        a, b = fields(m, self.a, self._a, "a"), fields(m, self.b, self._b, "b")
        product = named(m, a.significand * b.significand, "product")
        least = scale(self._a) + scale(self._b)
        most = least + (1 << self._a.exponent_bits) + (1 << self._b.exponent_bits) - 2
        rounding = place(m, "rounding", Rounding(
            bits=len(product), zeros=len(product) - 1, exponents=(least + 2, most), format=self._format, stages=rest
        ))  # fmt: skip
        values = {
            "magnitude": product, "exponent": a.exponent + b.exponent + least, "negative": a.negative ^ b.negative,
            "nan": self._no_number(a, b), "infinite": a.infinite | b.infinite,
        }  # fmt: skip
        for name, value in values.items():
            port = getattr(rounding, name)
            m.d.comb += port.eq(delayed(m, named(m, value, f"{name}_now", port.shape()), first, name))
        m.d.comb += self.result.eq(rounding.result)
        return m

    def _no_number(self, a: Fields, b: Fields) -> Value:
        """NaN, or infinity times zero."""
        return a.nan | b.nan | a.infinite & ~b.significand.any() | b.infinite & ~a.significand.any()
