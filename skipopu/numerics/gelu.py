"""GELU in its tanh form, x · σ(2 √(2/π) (x + 0.044715 x³)), as GPT-2 has it; rounded once."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.exponential import ARGUMENT_BITS, ARGUMENT_LIMIT, POWERS
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
from skipopu.numerics.line_table import LineTable
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.psum import add
from skipopu.numerics.reciprocal import RECIPROCALS
from skipopu.numerics.silu import times_logistic

CUBIC = 0.044715


def _fp32(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


LINEAR_TERM, CUBIC_TERM = _fp32(2 * math.sqrt(2 / math.pi)), _fp32(2 * math.sqrt(2 / math.pi) * CUBIC)


@jit
def _argument(bits: int) -> int:
    """x (LINEAR_TERM + CUBIC_TERM x²) of a finite FP16 number, FP32 bits, each step rounded."""
    square = multiply(bits, FP16, bits, FP16, FP32)
    factor = add(multiply(square, FP32, CUBIC_TERM, FP32, FP32), LINEAR_TERM, FP32)
    return multiply(factor, FP32, bits, FP16, FP32)


@jit
def fixed_from_fp32(bits: int) -> int:
    """Return an FP32 number in units of 2^−ARGUMENT_BITS, rounded toward zero, within ±ARGUMENT_LIMIT."""
    shift = exponent_of(bits, FP32) - FP32.bias - FP32.fraction_bits + ARGUMENT_BITS
    magnitude = ARGUMENT_LIMIT
    if shift <= 0:
        magnitude = min(significand_of(bits, FP32) >> min(-shift, FP32.fraction_bits + 1), ARGUMENT_LIMIT)
    return -magnitude if sign_of(bits, FP32) else magnitude


@jit
def gelu_fp16(bits: int, powers: LineTable, reciprocals: LineTable) -> int:
    """Return the FP16 bits of GELU; −∞ and what is too small become −0."""
    if is_nan(bits, FP16):
        return FP16.nan
    if is_infinite(bits, FP16):
        return FP16.sign if sign_of(bits, FP16) else FP16.infinity
    return times_logistic(bits, fixed_from_fp32(_argument(bits)), powers, reciprocals)


@jit
def _each(bits: Any, powers: LineTable, reciprocals: LineTable, found: Any) -> None:
    for i in range(len(bits)):
        found[i] = gelu_fp16(bits_of(bits[i]), powers, reciprocals)


def gelus(bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return GELU of FP16 bits, element by element."""
    found = np.zeros(bits.size, np.uint16)
    _each(np.ravel(bits), POWERS, RECIPROCALS, found)
    return found.reshape(bits.shape)
