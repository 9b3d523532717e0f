"""Reciprocal and reciprocal square root of normalised numbers, from tables of lines."""

from typing import Any

from amaranth.hdl import Module, Mux, signed
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.line_table import LineTable, table_bits
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.numerics.reciprocal import ARGUMENT_BITS

EXPONENT = signed(9)  # of the argument: a reciprocal's needs a bit more, as −(−256) = 256
INVERSE = table_bits("reciprocals")  # bits of a reciprocal, and of a reciprocal root
LEADING_ZEROS = 1  # most that those have


class Reciprocal(Unit):
    """1 / (significand · 2^(exponent − 23)) as found · 2^(power − 22) (`numerics.reciprocal.reciprocal`).

    Parameters
    ----------
    stages : latency in cycles of the steps of `LineTable`, whose multiplication is the only one

    Ports
    -----
    significand (24), exponent (9, two's complement) : in, the significand's highest bit counts as set
    found (22), power (10, two's complement) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = LineTable.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({
            "significand": In(ARGUMENT_BITS + 1), "exponent": In(EXPONENT),
            "found": Out(INVERSE), "power": Out(signed(EXPONENT.width + 1)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The fraction goes to the table."""
        m = Module()
        line = place(m, "line", LineTable(tables=("reciprocals",), bits=ARGUMENT_BITS, stages=self._stages))
        m.d.comb += [
            line.argument.eq(self.significand[:ARGUMENT_BITS]), self.found.eq(line.value),
            self.power.eq(delayed(m, named(m, -self.exponent, "negated"), self._stages, "power")),
        ]  # fmt: skip
        return m


class ReciprocalRoot(Unit):
    """1 / √(significand · 2^(exponent − 23)) as found · 2^(power − 22) (`numerics.reciprocal.reciprocal_root`).

    Parameters
    ----------
    stages : latency in cycles of the steps of `LineTable`, whose multiplication is the only one

    Ports
    -----
    significand (24), exponent (9, two's complement) : in, the significand's highest bit counts as set
    found (22), power (9, two's complement) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = LineTable.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({
            "significand": In(ARGUMENT_BITS + 1), "exponent": In(EXPONENT),
            "found": Out(INVERSE), "power": Out(EXPONENT),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """One ROM with two tables; the exponent's last bit chooses."""
        m = Module()
        table = LineTable(tables=("roots", "half_roots"), bits=ARGUMENT_BITS, stages=self._stages)
        line = place(m, "line", table)
        half = named(m, -(self.exponent >> 1), "negated")
        m.d.comb += [
            line.argument.eq(self.significand[:ARGUMENT_BITS]), line.select.eq(self.exponent[0]),
            self.found.eq(line.value), self.power.eq(delayed(m, half, self._stages, "power")),
        ]  # fmt: skip
        return m


class Fp32Root(Unit):
    """1/√x of an FP32 number (`numerics.normalization.root_fp32`): 1/√0 is +∞, subnormals count as 0, NaN below zero.

    Parameters
    ----------
    stages : latency in cycles of the steps of `LineTable`, then count zeros, normalise, round

    Ports
    -----
    number : in, FP32 · result : out, FP32

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = ReciprocalRoot.STEPS + Rounding.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP32.bits), "result": Out(FP32.bits)})

    def elaborate(self, platform: Any) -> Module:
        """The table; a result of 22 bits has room in FP32 and is only normalised."""
        m = Module()
        first, rest = shares((ReciprocalRoot.STEPS, Rounding.STEPS), self._stages)
        number = fields(m, self.number, FP32, "number")
        zero = named(m, ~number.significand[-1], "zero")
        nan = named(m, number.nan | number.negative & self.number[:-1].any(), "nan")
        root = place(m, "root", ReciprocalRoot(stages=first))
        half = 1 << FP32.exponent_bits - 2  # most that half an exponent is
        limits = (-half - FRACTION_BITS, half - FRACTION_BITS)
        rounding = place(m, "rounding", Rounding(
            bits=INVERSE, zeros=LEADING_ZEROS, exponents=limits, format="fp32", stages=rest
        ))  # fmt: skip
        gone = delayed(m, number.infinite, first, "infinite")
        m.d.comb += [
            root.significand.eq(number.significand), root.exponent.eq(number.exponent - FP32.bias),
            rounding.magnitude.eq(Mux(gone, 0, root.found)), rounding.exponent.eq(root.power - FRACTION_BITS),
            rounding.nan.eq(delayed(m, nan, first, "nan")), rounding.infinite.eq(delayed(m, zero, first, "zero")),
            rounding.negative.eq(0), self.result.eq(rounding.result),
        ]  # fmt: skip
        return m
