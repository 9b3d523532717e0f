"""Conversion: a column's fixed-point sum becomes floating point, once for all its products."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value, signed
from amaranth.lib.wiring import In, Out

from skipopu.hdl.leading_zeros import leading_zeros
from skipopu.hdl.operand import SUM_EXPONENT_BITS
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.shared_exponent import SPECIAL
from skipopu.hdl.verilog import Block
from skipopu.spec.number_format import FORMATS, FP16, INT4_PRODUCT_BITS, PRODUCT_BITS

FP16_SCALE = FP16.bias + FP16.fraction_bits  # value = significand · 2^(exponent − 25)


class Conversion(Block):
    """Normalise the sum, round it and put sign, exponent and special values together.

    Parameters
    ----------
    sum_bits : width of the sum, two's complement
    product_bits : where the sum's last bit stands
    format : "fp32" or "fp16"
    nearest_even : round to nearest, ties to even; else toward zero
    convert_stages : latency in cycles: count leading zeros, shift and round

    Ports
    -----
    int4 (1), sum (sum_bits), exponent (6), special : in, exponent is the largest of the products
    result : out, the IEEE 754 number; +0 for a zero sum; overflow gives infinity, toward zero the largest number

    Timing
    ------
    Latency ``convert_stages``, initiation interval 1, no reset.
    """

    def __init__(
        self, *, sum_bits: int, product_bits: int, format: str, nearest_even: bool, convert_stages: int
    ) -> None:
        self._bits, self._product_bits, self._stages = sum_bits, product_bits, convert_stages
        self._format, self._nearest_even = FORMATS[format], nearest_even
        super().__init__({
            "int4": In(1), "sum": In(signed(sum_bits)), "exponent": In(SUM_EXPONENT_BITS), "special": In(SPECIAL),
            "result": Out(self._format.bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Magnitude and leading zeros, then everything else."""
        m = Module()
        first, second = registers(2, self._stages)
        negative = delayed(m, named(m, self.sum < 0, "negative"), first, "negative")
        magnitude = named(m, Mux(self.sum < 0, -self.sum, self.sum)[: self._bits], "magnitude")
        zeros = delayed(m, named(m, leading_zeros(magnitude), "zeros"), first, "zeros")
        magnitude = delayed(m, magnitude, first, "magnitude")
        exponent = delayed(m, named(m, self._scaled_exponent(), "scaled"), first, "scaled")
        special = delayed(m, self.special, first, "special")
        # the exponent field of the leading one, before rounding; below 1 the number is subnormal
        field = named(m, exponent - zeros, "field", signed(10))
        normalised = named(m, (magnitude << zeros)[: self._bits], "normalised")
        packed = named(m, self._packed(m, field, normalised), "body")
        chosen = named(m, self._chosen(negative, magnitude.any(), packed, special), "chosen")
        m.d.comb += self.result.eq(delayed(m, chosen, second, "result"))
        return m

    def _offsets(self) -> tuple[int, int]:
        """What turns the shared exponent into the field that a one in the sum's top bit has: FP16, INT4 weights."""
        top = self._bits - 1 + self._format.bias
        of_float = top - 2 * FP16_SCALE + PRODUCT_BITS - self._product_bits
        return of_float, top - FP16_SCALE - (self._product_bits - INT4_PRODUCT_BITS)

    def _scaled_exponent(self) -> Value:
        of_float, of_int4 = (Const(offset, signed(10)) for offset in self._offsets())
        return self.exponent + Mux(self.int4, of_int4, of_float)

    def _packed(self, m: Module, field: Value, normalised: Value) -> Value:
        """Exponent and fraction, rounded; a carry out of the fraction raises the exponent by itself."""
        f = self._format
        base, shifted = self._placed(m, field, Cat(Const(0, f.significand_bits + 1), normalised))
        kept, dropped = shifted[-f.significand_bits :], shifted[: -f.significand_bits]
        up = self._round_up(kept[0], dropped[-1], dropped[:-1].any()) if self._nearest_even else Const(0, 1)
        rounded = named(m, (base << f.fraction_bits) + kept + up, "rounded", f.bits + 2)
        limit = f.infinity if self._nearest_even else f.largest
        return Mux(rounded >= f.infinity, limit, rounded)[: f.bits - 1]

    def _placed(self, m: Module, field: Value, wide: Value) -> tuple[Value, Value]:
        """What to add the significand to, and the significand, standing lower where the number is subnormal."""
        if min(self._offsets()) + 1 - self._bits >= 0:  # exponent 1, a one in the last bit: still normal
            return (field - 1)[: self._format.exponent_bits], wide
        most = self._format.significand_bits + 1  # beyond it only that something was there counts
        down = Mux(field > 0, 0, Mux(1 - field > most, most, 1 - field))[: most.bit_length()]
        base = named(m, Mux(field > 0, field - 1, 0), "base", self._format.exponent_bits + 1)
        return base, named(m, wide >> down, "shifted", len(wide))

    def _round_up(self, last: Value, half: Value, below: Value) -> Value:
        """Nearest, ties to even."""
        return half & (below | last)

    def _chosen(self, negative: Value, some: Value, packed: Value, special: Any) -> Value:
        f = self._format
        both = special.nan | special.plus & special.minus
        infinite = special.plus | special.minus
        number = Cat(Mux(some, packed, 0), negative)
        return Mux(both, Const(f.nan, f.bits), Mux(infinite, Cat(Const(f.infinity, f.bits - 1), special.minus), number))
