"""IEEE 754 binary formats as integers: the fields of a number, subnormals included.

A finite number is ±significand · 2^(exponent − bias − fraction_bits), exponent = max(exponent field, 1).
"""

from typing import Any, NamedTuple

import numpy as np

from skipopu.numerics.jit import jit
from skipopu.spec.number_format import FORMATS


class Format(NamedTuple):
    """A binary interchange format; patterns are those of the format, in the low bits of an integer."""

    fraction_bits: int
    bias: int
    sign: int  # pattern of −0
    infinity: int  # pattern of +∞
    nan: int  # pattern of the canonical NaN


def binary_format(exponent_bits: int, fraction_bits: int) -> Format:
    """Return the format with the given field widths."""
    infinity = ((1 << exponent_bits) - 1) << fraction_bits
    return Format(
        fraction_bits=fraction_bits,
        bias=(1 << (exponent_bits - 1)) - 1,
        sign=1 << (exponent_bits + fraction_bits),
        infinity=infinity,
        nan=infinity | 1 << (fraction_bits - 1),
    )


FP16, FP32 = (binary_format(FORMATS[n].exponent_bits, FORMATS[n].fraction_bits) for n in ("fp16", "fp32"))


@jit
def bits_of(element: Any) -> int:
    """Return an element of an unsigned array as a signed integer; Numba would mix the two into a float."""
    return int(np.int64(element))


@jit
def sign_of(bits: int, form: Format) -> int:
    """Return 1 for a negative number, −0 included."""
    return 1 if bits & form.sign else 0


@jit
def exponent_of(bits: int, form: Format) -> int:
    """Return the biased exponent; that of subnormals and zero is 1."""
    return max((bits & form.infinity) >> form.fraction_bits, 1)


@jit
def significand_of(bits: int, form: Format) -> int:
    """Return the fraction with the hidden one, where there is one."""
    hidden = 1 << form.fraction_bits
    return (bits & (hidden - 1)) | (hidden if bits & form.infinity else 0)


@jit
def is_nan(bits: int, form: Format) -> bool:
    """Any NaN, canonical or not."""
    return bits & (form.sign - 1) > form.infinity


@jit
def is_infinite(bits: int, form: Format) -> bool:
    """Either infinity."""
    return bits & (form.sign - 1) == form.infinity
