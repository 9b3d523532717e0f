"""Operands of a product: FP16 taken apart, once for every activation and weight."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import data

from skipopu.spec.number_format import FP16, INT4_BITS

FP16_BITS, FRACTION_BITS, EXPONENT_BITS = FP16.bits, FP16.fraction_bits, FP16.exponent_bits
SUM_EXPONENT_BITS = EXPONENT_BITS + 1  # of two exponents

OPERAND = data.StructLayout({
    "significand": FRACTION_BITS + 1,  # with its hidden one; INT4: the weight in two's complement
    "exponent": EXPONENT_BITS,  # biased; of a subnormal that of the smallest normal number; INT4: 0
    "negative": 1,
    "infinite": 1,
    "nan": 1,
})  # fmt: skip


def fp16_operand(m: Module, target: Any, word: Value) -> None:
    """Drive ``target`` (OPERAND) with the fields of the FP16 ``word``."""
    fraction, exponent = word[:FRACTION_BITS], word[FRACTION_BITS : FRACTION_BITS + EXPONENT_BITS]
    normal, special = exponent.any(), exponent.all()
    m.d.comb += [
        target.significand.eq(Cat(fraction, normal)),
        target.exponent.eq(Mux(normal, exponent, 1)),
        target.negative.eq(word[-1]),
        target.infinite.eq(special & ~fraction.any()),
        target.nan.eq(special & fraction.any()),
    ]


def weight_operand(m: Module, target: Any, word: Value, int4: Value) -> None:
    """Drive ``target`` with an FP16 weight, or with the INT4 weight in the low 4 bits of ``word``."""
    with m.If(int4):
        m.d.comb += [target.significand.eq(word[:INT4_BITS]), target.negative.eq(word[INT4_BITS - 1])]
    with m.Else():
        fp16_operand(m, target, word)


def is_zero(operand: Any) -> Value:
    """A product with this operand is zero."""
    zero: Value = ~operand.significand.any()
    return zero
