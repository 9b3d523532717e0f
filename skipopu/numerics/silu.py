"""SiLU, x · σ(x), from the exponential and the reciprocal; rounded once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.conversion import round_magnitude
from skipopu.numerics.exponential import POWERS, exponential, fixed_argument
from skipopu.numerics.floating_point import FP16, bits_of, exponent_of, is_infinite, is_nan, sign_of, significand_of
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import FRACTION_BITS, LineTable
from skipopu.numerics.reciprocal import RECIPROCALS, normalised, reciprocal

ONE = 1 << FRACTION_BITS
GONE = FRACTION_BITS + 1  # shift that leaves nothing of a power


@jit
def logistic(argument: int, powers: LineTable, reciprocals: LineTable) -> tuple[int, int]:
    """Return σ of a fixed argument as (significand, exponent): significand · 2^(exponent − FRACTION_BITS).

    σ(x) = 1 / (1 + e^−|x|) for x ≥ 0, and e^−|x| times that below.
    """
    power, exponent = exponential(-abs(argument), powers)
    one_more, scale = normalised(ONE + (power >> min(-exponent, GONE)))
    found, shift = reciprocal(one_more, scale - FRACTION_BITS, reciprocals)
    if argument >= 0:
        return found, shift
    return found * power >> FRACTION_BITS, shift + exponent


@jit
def silu_fp16(bits: int, powers: LineTable, reciprocals: LineTable) -> int:
    """Return the FP16 bits of x · σ(x); −∞ and what is too small become −0."""
    if is_nan(bits, FP16):
        return FP16.nan
    if is_infinite(bits, FP16):
        return FP16.sign if sign_of(bits, FP16) else FP16.infinity
    return times_logistic(bits, fixed_argument(bits), powers, reciprocals)


@jit
def times_logistic(bits: int, argument: int, powers: LineTable, reciprocals: LineTable) -> int:
    """Return x · σ(argument) of a finite FP16 number."""
    found, power = logistic(argument, powers, reciprocals)
    scale = exponent_of(bits, FP16) - FP16.bias - FP16.fraction_bits + power - FRACTION_BITS
    return round_magnitude(sign_of(bits, FP16) == 1, found * significand_of(bits, FP16), scale, True, FP16)


@jit
def _each(bits: Any, powers: LineTable, reciprocals: LineTable, found: Any) -> None:
    for i in range(len(bits)):
        found[i] = silu_fp16(bits_of(bits[i]), powers, reciprocals)


def silus(bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return x · σ(x) of FP16 bits, element by element."""
    found = np.zeros(bits.size, np.uint16)
    _each(np.ravel(bits), POWERS, RECIPROCALS, found)
    return found.reshape(bits.shape)
