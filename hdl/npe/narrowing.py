"""Narrowing: FP32 results become FP16, rounded once; with a residual added before."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32, fields, scale
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import place
from skipopu.spec.number_format import FP16, FloatFormat


def _connect(m: Module, rounding: Any, word: Value, form: FloatFormat) -> None:
    """Drive ``rounding`` with a number of another format."""
    number = fields(m, word, form, "number")
    m.d.comb += [
        rounding.magnitude.eq(number.significand), rounding.exponent.eq(number.exponent + scale(form)),
        rounding.negative.eq(number.negative), rounding.nan.eq(number.nan), rounding.infinite.eq(number.infinite),
    ]  # fmt: skip


def _exponents(form: FloatFormat) -> tuple[int, int]:
    return scale(form) + 1, scale(form) + (1 << form.exponent_bits) - 1


class Narrowing(Unit):
    """An FP32 number rounded to FP16, nearest even (`numerics.narrowing.narrow`); no multiplier.

    Parameters
    ----------
    stages : latency in cycles of the step round; FP32's subnormals come out as zero and need not be normalised

    Ports
    -----
    number : in, FP32 · result : out, FP16; a NaN becomes the canonical one

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Rounding.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP32.bits), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """Fields, then one rounding."""
        m = Module()
        rounding = place(m, "rounding", Rounding(
            bits=FP32.significand_bits, zeros=0, exponents=_exponents(FP32), format="fp16", stages=self._stages
        ))  # fmt: skip
        _connect(m, rounding, self.number, FP32)
        m.d.comb += self.result.eq(rounding.result)
        return m


class Widening(Unit):
    """An FP16 number in FP32; exact (`numerics.psum.widen`).

    Parameters
    ----------
    stages : latency in cycles of the steps count zeros, normalise, and put together

    Ports
    -----
    number : in, FP16 · result : out, FP32; a NaN becomes the canonical one

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Rounding.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP16.bits), "result": Out(FP32.bits)})

    def elaborate(self, platform: Any) -> Module:
        """Fields, then a rounding that has nothing to drop."""
        m = Module()
        rounding = place(m, "rounding", Rounding(
            bits=FP16.significand_bits, zeros=FP16.fraction_bits, exponents=_exponents(FP16), format="fp32",
            stages=self._stages,
        ))  # fmt: skip
        _connect(m, rounding, self.number, FP16)
        m.d.comb += self.result.eq(rounding.result)
        return m


class ResidualAddition(Unit):
    """FP32 result + FP16 residual, rounded to FP32, then to FP16 (`numerics.narrowing.with_residual`).

    Parameters
    ----------
    stages : latency in cycles of the steps of `Widening`, `FloatAddition`, `Narrowing`

    Ports
    -----
    number : in, FP32 · residual : in, FP16 · result : out, FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Widening.STEPS + FloatAddition.STEPS + Narrowing.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP32.bits), "residual": In(FP16.bits), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """Widen the residual, add, narrow."""
        m = Module()
        widen, add, narrow = shares((Widening.STEPS, FloatAddition.STEPS, Narrowing.STEPS), self._stages)
        widening = place(m, "widening", Widening(stages=widen))
        addition = place(m, "addition", FloatAddition(format="fp32", stages=add))
        narrowing = place(m, "narrowing", Narrowing(stages=narrow))
        m.d.comb += [
            widening.number.eq(self.residual), addition.a.eq(delayed(m, self.number, widen, "number")),
            addition.b.eq(widening.result), narrowing.number.eq(addition.result), self.result.eq(narrowing.result),
        ]  # fmt: skip
        return m
