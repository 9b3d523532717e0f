"""RMSNorm and LayerNorm: sums of a row tile by tile, then its tiles normalised on their way into the PE array."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.conversion import round_magnitude
from skipopu.numerics.floating_point import (
    FP16,
    FP32,
    bits_of,
    exponent_of,
    is_infinite,
    is_nan,
    sign_of,
    significand_of,
)
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import FRACTION_BITS, LineTable
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.narrowing import narrow, negative
from skipopu.numerics.psum import add, widen
from skipopu.numerics.reciprocal import HALF_ROOTS, ROOTS, reciprocal_root
from skipopu.numerics.reduction import Terms, new_terms, put_number, put_square, reduced

Bits = NDArray[np.uint16]


@jit
def tile_sums(x: Any, t: Terms, numbers: bool) -> int:
    """Return FP32 bits of Σx (``numbers``) or Σx² of a tile of FP16 numbers."""
    t.special[0] = 0
    for lane in range(len(x)):
        if numbers:
            put_number(t, lane, bits_of(x[lane]))
        else:
            put_square(t, lane, bits_of(x[lane]))
    return reduced(t, len(x))


@jit
def row_sum(x: Any, lanes: int, t: Terms, numbers: bool) -> int:
    """Return FP32 bits of Σx or Σx² of a row, tile after tile."""
    total = 0
    for first in range(0, len(x), lanes):
        total = add(total, tile_sums(x[first : first + lanes], t, numbers), FP32)
    return total


@jit
def root_fp32(bits: int, roots: LineTable, half_roots: LineTable) -> int:
    """Return FP32 bits of 1/√x of a normal FP32 number; 1/√0 = +∞, subnormals count as 0, NaN below zero."""
    if is_nan(bits, FP32) or (sign_of(bits, FP32) and bits != FP32.sign):
        return FP32.nan
    if is_infinite(bits, FP32):
        return 0
    significand = significand_of(bits, FP32)
    if significand >> FP32.fraction_bits == 0:
        return FP32.infinity
    exponent = exponent_of(bits, FP32) - FP32.bias
    found, power = reciprocal_root(significand, exponent, roots, half_roots)
    return round_magnitude(False, found, power - FRACTION_BITS, True, FP32)


@jit
def inverse_deviation(square: int, mean: int, share: int, epsilon: int, roots: LineTable, half: LineTable) -> int:
    """1/√(Σx²/D − mean² + ε), all FP32; below zero the variance is zero."""
    squared = multiply(mean, FP32, mean, FP32, FP32)
    variance = add(multiply(square, FP32, share, FP32, FP32), negative(squared), FP32)
    if variance & FP32.sign and not is_nan(variance, FP32):
        variance = 0
    return root_fp32(add(variance, epsilon, FP32), roots, half)


def rms_norm(x: Bits, gamma: Bits, epsilon: float, lanes: int) -> Bits:
    """Return x / √(mean x² + ε) · gamma, [rows, D] FP16 bits; ``gamma`` [D]."""
    return _normalised(x, gamma, None, epsilon, lanes)


def layer_norm(x: Bits, gamma: Bits, beta: Bits, epsilon: float, lanes: int) -> Bits:
    """Return (x − mean) / √(variance + ε) · gamma + beta, [rows, D] FP16 bits; ``gamma``, ``beta`` [D]."""
    return _normalised(x, gamma, beta, epsilon, lanes)


def _normalised(x: Bits, gamma: Bits, beta: Bits | None, epsilon: float, lanes: int) -> Bits:
    found, zeros = np.zeros(x.shape, np.uint16), np.zeros(len(gamma), np.uint16)
    share, small = (int(np.float32(value).view(np.uint32)) for value in (1 / x.shape[1], epsilon))
    tables, rows = (ROOTS, HALF_ROOTS), np.ascontiguousarray(x)
    centred = beta is not None
    _rows(rows, gamma, zeros if beta is None else beta, share, small, centred, lanes, new_terms(lanes), *tables, found)
    return found


@jit
def _rows(
    x: Any, gamma: Any, beta: Any, share: int, epsilon: int, centred: bool, lanes: int, t: Terms,
    roots: LineTable, half_roots: LineTable, found: Any,
) -> None:  # fmt: skip
    for row in range(len(x)):
        mean = 0
        if centred:
            mean = multiply(row_sum(x[row], lanes, t, True), FP32, share, FP32, FP32)
        inverse = inverse_deviation(row_sum(x[row], lanes, t, False), mean, share, epsilon, roots, half_roots)
        for k in range(x.shape[1]):
            value = scaled_element(bits_of(x[row, k]), mean, inverse, bits_of(gamma[k]), bits_of(beta[k]), centred)
            found[row, k] = value


@jit
def scaled_element(x: int, mean: int, inverse: int, gamma: int, beta: int, centred: bool) -> int:
    """One element; rounded to FP32 after each step, to FP16 at the end."""
    value = widen(x)
    if centred:
        value = add(value, negative(mean), FP32)
    value = multiply(value, FP32, inverse, FP32, FP32)
    if not centred:
        return multiply(value, FP32, gamma, FP16, FP16)
    value = add(multiply(value, FP32, gamma, FP16, FP32), widen(beta), FP32)
    return narrow(value)
