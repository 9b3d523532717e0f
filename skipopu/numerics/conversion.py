"""Fixed point to floating point: the one rounding at the end of a column, of an addition, of a scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.floating_point import FP16, FP32, Format
from skipopu.numerics.jit import jit

HALVES = (32, 16, 8, 4, 2, 1)  # steps of the search for the leading one
ALL = 62  # bits to drop, of which nothing remains


def psum_format(arithmetic: Arithmetic) -> Format:
    """Return the format of partial sums."""
    return FP16 if arithmetic.fp16_psum else FP32


@jit
def bit_length(value: int) -> int:
    """Return the number of bits of a magnitude below 2^63."""
    length = 0
    for step in HALVES:
        if value >> step:
            value >>= step
            length += step
    return length + (1 if value else 0)


@jit
def round_magnitude(negative: bool, magnitude: int, exponent: int, nearest: bool, form: Format) -> int:
    """Return the bits of ±magnitude · 2^exponent in ``form``, rounded once; zero keeps its sign.

    ``nearest``: to nearest, ties to even, overflow to infinity; else toward zero, overflow to the
    largest number. ``magnitude`` is below 2^61.
    """
    sign = form.sign if negative else 0
    if magnitude == 0:  # no leading one to go by
        return sign
    # exponent of the result's leading bit, not below that of the smallest normal number
    leading = max(exponent + bit_length(magnitude) - 1, 1 - form.bias)
    drop = min(leading - form.fraction_bits - exponent, ALL)
    if drop <= 0:
        kept = magnitude << -drop
    else:
        kept = magnitude >> drop
        if nearest:
            rest, half = magnitude - (kept << drop), 1 << (drop - 1)
            kept += 1 if rest > half or (rest == half and kept & 1) else 0
    # a hidden one, or the carry of the rounding, adds one to the exponent field
    bits = ((leading + form.bias - 1) << form.fraction_bits) + kept
    return sign | min(bits, form.infinity if nearest else form.infinity - 1)


@jit
def fixed_to_float(total: int, exponent: int, nearest: bool, form: Format) -> int:
    """Return the bits of total · 2^exponent in ``form``; a zero total is +0."""
    return round_magnitude(total < 0, abs(total), exponent, nearest, form)


def convert(
    totals: NDArray[np.int64], exponents: NDArray[np.int64], arithmetic: Arithmetic
) -> NDArray[np.uint32]:
    """Return total · 2^exponent, element by element, as bits of the PSUM format with the output rounding."""
    flat, scale = np.ravel(totals).astype(np.int64), np.ravel(exponents).astype(np.int64)
    found = np.zeros(flat.size, np.uint32)
    _convert(flat, scale, arithmetic.nearest_output, psum_format(arithmetic), found)
    return found.reshape(np.shape(totals))


@jit
def _convert(totals: Any, exponents: Any, nearest: bool, form: Format, found: Any) -> None:
    for i in range(len(totals)):
        found[i] = fixed_to_float(int(totals[i]), int(exponents[i]), nearest, form)
