"""Shared exponent: exponents, signs and special values of a column's products, beside the multipliers."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import OPERAND, SUM_EXPONENT_BITS, is_zero
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import Block

SPECIAL = data.StructLayout({"nan": 1, "plus": 1, "minus": 1})  # a NaN, +∞, −∞ among the products


class SharedExponent(Block):
    """Exponents of ``length`` products, their maximum, their signs and what they hold of NaN and infinity.

    Parameters
    ----------
    length : products of a column
    multiply_stages : latency in cycles, that of the PE

    Ports
    -----
    activation, weight : in, ``length`` operands (`operand.OPERAND`)
    exponent : out, ``length`` × 6 bits, sum of the biased exponents; 0 where the product is zero
    negative : out, a bit a product
    maximum (6) : out, largest exponent; 0 when every product is zero
    special : out, NaN, +∞, −∞ (IEEE 754: ∞ · 0 is NaN)

    Timing
    ------
    Latency ``multiply_stages``, initiation interval 1, no reset.
    """

    def __init__(self, *, length: int, multiply_stages: int) -> None:
        self._length, self._stages = length, multiply_stages
        operands = data.ArrayLayout(OPERAND, length)
        super().__init__({
            "activation": In(operands), "weight": In(operands),
            "exponent": Out(data.ArrayLayout(SUM_EXPONENT_BITS, length)), "negative": Out(length),
            "maximum": Out(SUM_EXPONENT_BITS), "special": Out(SPECIAL),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Add the exponents, then find the maximum level by level."""
        m = Module()
        pairs = [(self.activation[k], self.weight[k]) for k in range(self._length)]
        sums = [self._exponent(a, w) for a, w in pairs]
        exponents = [named(m, each, f"exponent{k}", SUM_EXPONENT_BITS) for k, each in enumerate(sums)]
        negative = Cat(a.negative ^ w.negative for a, w in pairs)
        m.d.comb += [
            self.exponent.eq(delayed(m, named(m, Cat(*exponents), "exponents"), self._stages, "exponents")),
            self.negative.eq(delayed(m, named(m, negative, "negatives"), self._stages, "negatives")),
            self.special.eq(delayed(m, self._special(m, pairs), self._stages, "specials")),
            self.maximum.eq(self._maximum(m, exponents)),
        ]
        return m

    def _exponent(self, a: Any, w: Any) -> Value:
        return Mux(is_zero(a) | is_zero(w), 0, a.exponent + w.exponent)

    def _maximum(self, m: Module, values: list[Value]) -> Value:
        """A tree of comparisons, its registers spread over the latency."""
        levels = self._length.bit_length() - 1
        cuts = registers(1 + levels, self._stages)
        values = [delayed(m, v, cuts[0], f"maximum0_{k}") for k, v in enumerate(values)]
        for level, cut in enumerate(cuts[1:], 1):
            pairs = zip(values[::2], values[1::2], strict=True)
            larger = [named(m, Mux(a > b, a, b), f"maximum{level}_{k}") for k, (a, b) in enumerate(pairs)]
            values = [delayed(m, v, cut, f"maximum{level}_{k}") for k, v in enumerate(larger)]
        return values[0]

    def _special(self, m: Module, pairs: list[tuple[Any, Any]]) -> Any:
        nan = Cat(a.nan | w.nan | a.infinite & is_zero(w) | w.infinite & is_zero(a) for a, w in pairs)
        infinite = Cat((a.infinite | w.infinite) for a, w in pairs)
        negative = Cat(a.negative ^ w.negative for a, w in pairs)
        special = Signal(SPECIAL, name="special_now")
        m.d.comb += [
            special.nan.eq(nan.any()),
            special.plus.eq((infinite & ~negative).any()),
            special.minus.eq((infinite & negative).any()),
        ]
        return special
