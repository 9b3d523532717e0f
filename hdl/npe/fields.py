"""Fields of a floating-point word, as `skipopu.numerics.floating_point` has them."""

from typing import NamedTuple

from amaranth.hdl import Cat, Module, Mux, Value

from skipopu.hdl.pipeline import named
from skipopu.spec.number_format import FORMATS, FloatFormat

FP32 = FORMATS["fp32"]


class Fields(NamedTuple):
    """A word taken apart."""

    negative: Value
    exponent: Value  # biased; of a subnormal and of zero 1
    significand: Value  # with the hidden one, where there is one
    nan: Value
    infinite: Value


def fields(m: Module, word: Value, form: FloatFormat, name: str) -> Fields:
    """Return signals ``<name>_exponent`` … that carry the fields of ``word``."""
    fraction, field = word[: form.fraction_bits], word[form.fraction_bits : -1]
    some = fraction.any()
    return Fields(
        negative=word[-1],
        exponent=named(m, Mux(field.any(), field, 1), f"{name}_exponent", form.exponent_bits),
        significand=named(m, Cat(fraction, field.any()), f"{name}_significand"),
        nan=named(m, field.all() & some, f"{name}_nan"),
        infinite=named(m, field.all() & ~some, f"{name}_infinite"),
    )


def scale(form: FloatFormat) -> int:
    """Return the exponent of a significand's last bit where the biased exponent is 0."""
    return -form.bias - form.fraction_bits
