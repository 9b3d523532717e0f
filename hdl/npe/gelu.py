"""GELU in its tanh form: x · σ(2 √(2/π) (x + 0.044715 x³)), rounded once."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import ARGUMENT
from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.silu import TimesLogistic
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.exponential import ARGUMENT_BITS, ARGUMENT_LIMIT
from skipopu.numerics.gelu import CUBIC_TERM, LINEAR_TERM
from skipopu.spec.number_format import FP16

UNIT_EXPONENT = FP32.bias + FP32.fraction_bits - ARGUMENT_BITS  # of numbers whose last bit is 2^−ARGUMENT_BITS


class Fp32Argument(Unit):
    """An FP32 number as an argument (`numerics.gelu.fixed_from_fp32`): one shifter; a NaN is anything.

    Parameters
    ----------
    stages : latency in cycles of the one step

    Ports
    -----
    number : in, FP32 · argument (25, two's complement) : out, units of 2^−18, toward zero, within ±32

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 1

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP32.bits), "argument": Out(ARGUMENT)})

    def elaborate(self, platform: Any) -> Module:
        """From 32 on every exponent is too large, so that there is only a shift to the right."""
        m = Module()
        number = fields(m, self.number, FP32, "number")
        distance = named(m, UNIT_EXPONENT - number.exponent, "distance")
        most = FP32.significand_bits
        places = named(m, Mux(distance > most, most, distance)[: most.bit_length()], "places")
        magnitude = named(m, Mux(distance <= 0, ARGUMENT_LIMIT, number.significand >> places), "magnitude", most)
        argument = named(m, Mux(number.negative, -magnitude, magnitude), "signed", ARGUMENT)
        m.d.comb += self.argument.eq(delayed(m, argument, self._stages, "argument"))
        return m


class Gelu(Unit):
    """GELU of FP16 numbers (`numerics.gelu.gelu_fp16`): six DSP48E2 of `TimesLogistic`, six for the cubic.

    Parameters
    ----------
    stages : latency in cycles of the steps square, times a constant, add a constant, times x (`FloatMultiplier`,
        `FloatAddition`), then those of `Fp32Argument` and `TimesLogistic`

    Ports
    -----
    number : in, FP16 · result : out, FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    PARTS = (
        FloatMultiplier.STEPS, FloatMultiplier.STEPS, FloatAddition.STEPS, FloatMultiplier.STEPS, Fp32Argument.STEPS,
        TimesLogistic.STEPS,
    )  # fmt: skip
    STEPS = sum(PARTS)

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP16.bits), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """x (LINEAR_TERM + CUBIC_TERM x²) as an argument, and x."""
        m = Module()
        square, cubic, add, last, fix, rest = shares(self.PARTS, self._stages)
        squared = self._product(m, "square", self.number, "fp16", self.number, "fp16", square)
        scaled = self._product(m, "cubic", squared, "fp32", Const(CUBIC_TERM, FP32.bits), "fp32", cubic)
        addition = place(m, "linear", FloatAddition(format="fp32", stages=add))
        m.d.comb += [addition.a.eq(scaled), addition.b.eq(Const(LINEAR_TERM, FP32.bits))]
        number = delayed(m, self.number, square + cubic + add, "number")
        argument = self._product(m, "argument", addition.result, "fp32", number, "fp16", last)
        fixed, times = place(m, "fixed", Fp32Argument(stages=fix)), place(m, "times", TimesLogistic(stages=rest))
        m.d.comb += [
            fixed.number.eq(argument), times.argument.eq(fixed.argument),
            times.number.eq(delayed(m, number, last + fix, "waiting")), self.result.eq(times.result),
        ]  # fmt: skip
        return m

    def _product(self, m: Module, name: str, a: Value, a_format: str, b: Value, b_format: str, stages: int) -> Value:
        block = FloatMultiplier(a_format=a_format, b_format=b_format, format="fp32", stages=stages)
        multiplier = place(m, name, block)
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
        result: Value = multiplier.result
        return result
