"""Exponential: range reduction by a constant, a table of 2^f; and the arguments it takes from FP16 numbers."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import fields
from skipopu.hdl.npe.line_table import LineTable, table_bits
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import place
from skipopu.numerics.exponential import (
    ARGUMENT_BITS,
    ARGUMENT_LIMIT,
    CONSTANT_BITS,
    FP16_UNIT,
    LOG2_E,
    POWER_BITS,
)
from skipopu.spec.number_format import FP16

ARGUMENT = signed(ARGUMENT_LIMIT.bit_length() + 1)  # units of 2^−18, within ±ARGUMENT_LIMIT
REDUCTION = ARGUMENT_BITS + CONSTANT_BITS - POWER_BITS  # bits that the product with log2 e has too many
LEAST_EXPONENT = -ARGUMENT_LIMIT * LOG2_E >> REDUCTION + POWER_BITS
EXPONENT = signed((-LEAST_EXPONENT).bit_length() + 1)
POWER = table_bits("powers")  # bits of a significand


def bounded(argument: Value) -> Value:
    """Return ``argument`` within ±ARGUMENT_LIMIT."""
    low, high = argument < -ARGUMENT_LIMIT, argument > ARGUMENT_LIMIT
    return Mux(low, -ARGUMENT_LIMIT, Mux(high, ARGUMENT_LIMIT, argument))[: ARGUMENT.width].as_signed()


def unbounded_argument(m: Module, word: Value, name: str) -> Value:
    """Return an FP16 number in units of 2^−18, toward zero, two's complement; infinity as if it were finite."""
    number = fields(m, word, FP16, name)
    most = (1 << FP16.exponent_bits) - 2
    places = named(m, number.exponent - 1, f"{name}_places", FP16.exponent_bits)
    wide = Cat(number.significand, Const(0, most)) << places
    magnitude = named(m, wide[FP16_UNIT - ARGUMENT_BITS : most + FP16.significand_bits], f"{name}_magnitude")
    return named(m, Mux(number.negative, -magnitude, magnitude), f"{name}_argument")


class FixedArgument(Unit):
    """An FP16 number as an argument (`numerics.exponential.fixed_argument`): one shifter.

    Parameters
    ----------
    stages : latency in cycles of the one step

    Ports
    -----
    number : in, FP16 · argument (25, two's complement) : out, units of 2^−18, within ±32

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 1

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP16.bits), "argument": Out(ARGUMENT)})

    def elaborate(self, platform: Any) -> Module:
        """Shift, bound."""
        m = Module()
        argument = named(m, bounded(unbounded_argument(m, self.number, "number")), "bounded")
        m.d.comb += self.argument.eq(delayed(m, argument, self._stages, "argument"))
        return m


class Exponential(Unit):
    """e^argument as significand · 2^(exponent − 22) (`numerics.exponential.exponential`).

    log2 e has 18 bits; its leading one is added, not multiplied: 25 × 17 bits and the addition are one DSP48E2 (27 × 18
    signed), the table is another.

    Parameters
    ----------
    stages : latency in cycles of the steps reduce, look up, multiply, add

    Ports
    -----
    argument (25, two's complement) : in, units of 2^−18, within ±32
    significand (23), exponent (7, two's complement) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 1 + LineTable.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"argument": In(ARGUMENT), "significand": Out(POWER), "exponent": Out(EXPONENT)})

    def elaborate(self, platform: Any) -> Module:
        """Product with log2 e; its fraction goes to the table, its integer is the exponent."""
        m = Module()
        reduce, rest = shares((1, LineTable.STEPS), self._stages)
        power = delayed(m, named(m, self._power(), "power", signed(POWER_BITS + EXPONENT.width)), reduce, "power")
        line = place(m, "line", LineTable(tables=("powers",), bits=POWER_BITS, stages=rest))
        exponent = named(m, power[POWER_BITS:].as_signed(), "power_exponent")
        m.d.comb += [
            line.argument.eq(power[:POWER_BITS]), self.significand.eq(line.value),
            self.exponent.eq(delayed(m, exponent, rest, "exponent")),
        ]  # fmt: skip
        return m

    def _power(self) -> Value:
        """The binary exponent: argument · log2 e."""
        product = self.argument * Const(LOG2_E - (1 << CONSTANT_BITS), signed(CONSTANT_BITS))
        return product + (self.argument << CONSTANT_BITS) >> REDUCTION


class PowerBelow(Unit):
    """e^(score − maximum) as significand · 2^(exponent − 22) (`numerics.softmax.power_below`).

    Parameters
    ----------
    stages : latency in cycles of the steps shift, subtract, then those of `Exponential`

    Ports
    -----
    score, maximum : in, FP16; what score − maximum is above 32 counts as 32, infinity and NaN as if they were finite
    significand (23), exponent (7, two's complement) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 2 + Exponential.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({
            "score": In(FP16.bits), "maximum": In(FP16.bits), "significand": Out(POWER), "exponent": Out(EXPONENT)
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Two shifters, a difference of 37 bits, its low 25 to the exponential."""
        m = Module()
        before, rest = shares((2, Exponential.STEPS), self._stages)
        shift, subtract = registers(2, before)
        score = delayed(m, unbounded_argument(m, self.score, "score"), shift, "score")
        maximum = delayed(m, unbounded_argument(m, self.maximum, "maximum"), shift, "maximum")
        difference = named(m, bounded(named(m, score - maximum, "difference")), "argument")
        exponential = place(m, "exponential", Exponential(stages=rest))
        m.d.comb += [
            exponential.argument.eq(delayed(m, difference, subtract, "argument")),
            self.significand.eq(exponential.significand), self.exponent.eq(exponential.exponent),
        ]  # fmt: skip
        return m
