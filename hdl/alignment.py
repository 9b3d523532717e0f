"""Alignment: a product brought to the shared exponent and given its sign."""

from typing import Any

from amaranth.hdl import Module, Mux, Value, signed
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import SUM_EXPONENT_BITS
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import Block


class Alignment(Block):
    """Shift right a product's magnitude by the distance of its exponent from the largest, then negate it.

    Parameters
    ----------
    product_bits : width of the magnitude
    nearest : round half away from zero; else the bits shifted out are dropped
    align_stages : latency in cycles: distance, shift

    Ports
    -----
    product (product_bits), negative (1), exponent (6), maximum (6) : in
    addend (product_bits + 1, two's complement) : out

    Timing
    ------
    Latency ``align_stages``, initiation interval 1, no reset.
    """

    def __init__(self, *, product_bits: int, nearest: bool, align_stages: int) -> None:
        self._bits, self._nearest, self._stages = product_bits, nearest, align_stages
        super().__init__({
            "product": In(product_bits), "negative": In(1), "exponent": In(SUM_EXPONENT_BITS),
            "maximum": In(SUM_EXPONENT_BITS), "addend": Out(signed(product_bits + 1)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Distance, then shift and sign."""
        m = Module()
        first, second = registers(2, self._stages)
        distance = delayed(m, named(m, self._distance(), "distance"), first, "distance")
        product = delayed(m, self.product, first, "product")
        negative = delayed(m, self.negative, first, "negative")
        shifted = named(m, self._shifted(product, distance), "shifted")
        addend = named(m, Mux(negative, -shifted, shifted), "signed_product", signed(self._bits + 1))
        m.d.comb += self.addend.eq(delayed(m, addend, second, "addend"))
        return m

    def _distance(self) -> Value:
        """Places to shift; from ``product_bits`` + 1 on nothing is left, not even to round."""
        furthest = self._bits + 1
        distance = (self.maximum - self.exponent)[:SUM_EXPONENT_BITS]
        return Mux(distance > furthest, furthest, distance)[: furthest.bit_length()]

    def _shifted(self, product: Value, distance: Value) -> Value:
        if not self._nearest:
            return product >> distance
        half = (product << 1) >> distance  # the bit below the last
        return ((half >> 1) + half[0])[: self._bits]
