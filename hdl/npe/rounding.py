"""Rounding: a magnitude at any power of two becomes a floating-point number, once for all that was done to it."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.leading_zeros import leading_zeros
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.spec.number_format import FORMATS


class Rounding(Unit):
    """±magnitude · 2^exponent to nearest, ties to even, with subnormals (`numerics.conversion.round_magnitude`).

    Parameters
    ----------
    bits : width of the magnitude
    zeros : most leading zeros of a magnitude that is not zero; with fewer the normalising shifter is smaller
    exponents : least and largest exponent; without subnormal results there is no shifter for them
    format : "fp32" or "fp16"
    stages : latency in cycles of the steps count zeros, normalise, round

    Ports
    -----
    negative (1), magnitude (bits), exponent (two's complement) : in
    nan, infinite : in, the result is the canonical NaN, or an infinity of the given sign
    result : out, number of the format; a zero keeps its sign, overflow gives infinity

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 3

    def __init__(self, *, bits: int, zeros: int, exponents: tuple[int, int], format: str, stages: int) -> None:
        self._bits, self._zeros, self._format = bits, zeros, FORMATS[format]
        self._subnormals = exponents[0] + bits - 1 - zeros + self._format.bias < 1  # there are subnormal results
        self._base_bits = (exponents[1] + bits + self._format.bias).bit_length()
        self._stages = stages
        super().__init__({
            "negative": In(1), "magnitude": In(bits), "exponent": In(range(exponents[0], exponents[1] + 1)),
            "nan": In(1), "infinite": In(1), "result": Out(self._format.bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Leading one to the top, then its exponent field, then the fraction."""
        m = Module()
        count, normalise, last = registers(self.STEPS, self._stages)
        flags = delayed(m, named(m, Cat(self.nan, self.infinite, self.negative), "flags"), count, "flags")
        zeros = delayed(m, named(m, self._leading_zeros(), "zeros"), count, "zeros")
        magnitude = delayed(m, self.magnitude, count, "magnitude")
        exponent = delayed(m, self.exponent, count, "exponent")
        base, down = self._placed(m, named(m, self._field(exponent, zeros), "field"))
        significand = delayed(m, self._normalised(m, magnitude, zeros), normalise, "significand")
        base, down = delayed(m, base, normalise, "base"), delayed(m, down, normalise, "down")
        flags = delayed(m, flags, normalise, "normal_flags")
        rounded = named(m, self._rounded(m, base, down, significand), "rounded")
        result = named(m, self._chosen(rounded, significand[-1], flags), "chosen", self._format.bits)
        m.d.comb += self.result.eq(delayed(m, result, last, "result"))
        return m

    def _leading_zeros(self) -> Value:
        return leading_zeros(self.magnitude[-self._zeros - 1 :]) if self._zeros else Const(0, 1)

    def _field(self, exponent: Value, zeros: Value) -> Value:
        """Exponent field of the leading one; below 1 the number is subnormal."""
        return exponent - zeros + (self._bits - 1 + self._format.bias)

    def _normalised(self, m: Module, magnitude: Value, zeros: Value) -> Value:
        """Significand, the bit below it and whether there is anything lower; the top bit is 0 only in zero."""
        kept = self._format.significand_bits + 1
        shifted = named(m, (magnitude << zeros)[: self._bits], "shifted") if self._zeros else magnitude
        if self._bits <= kept:
            return named(m, Cat(Const(0, kept + 1 - self._bits), shifted), "significand")
        lower = self._bits - kept
        return named(m, Cat(shifted[:lower].any(), shifted[lower:]), "significand")

    def _placed(self, m: Module, field: Value) -> tuple[Value, Value]:
        """What to add the significand to, and how many places lower it stands where the number is subnormal."""
        if not self._subnormals:
            return named(m, (field - 1)[: self._base_bits], "base"), Const(0, 1)
        most = self._format.significand_bits + 1  # beyond it only that something was there counts
        normal = named(m, field >= 1, "normal")
        down = Mux(normal, 0, Mux(field < 1 - most, most, 1 - field))
        base = named(m, Mux(normal, field - 1, 0), "base", self._base_bits)
        return base, named(m, down, "down", most.bit_length())

    def _rounded(self, m: Module, base: Value, down: Value, significand: Value) -> Value:
        """Exponent and fraction; a hidden one, or a carry out of the fraction, raises the exponent by itself."""
        placed, most = significand, self._format.significand_bits + 1
        if self._subnormals:
            wide = named(m, Cat(Const(0, most), significand) >> down, "lowered")
            placed = named(m, Cat(wide[: most + 1].any(), wide[most + 1 :]), "placed")
        up = self._round_up(placed[2], placed[1], placed[0])
        return (base << self._format.fraction_bits) + placed[2:] + up

    def _round_up(self, last: Value, half: Value, below: Value) -> Value:
        """Nearest, ties to even."""
        return half & (below | last)

    def _chosen(self, rounded: Value, some: Value, flags: Value) -> Value:
        f = self._format
        body = Mux(flags[1] | (rounded >= f.infinity), f.infinity, rounded)[: f.bits - 1]
        number = Cat(Mux(flags[1] | some, body, 0), flags[2])
        return Mux(flags[0], Const(f.nan, f.bits), number)
