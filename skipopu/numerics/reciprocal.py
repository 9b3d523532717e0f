"""Reciprocal and reciprocal square root of significands, from tables of lines."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.conversion import bit_length, round_magnitude
from skipopu.numerics.floating_point import FP16, bits_of, exponent_of, is_infinite, is_nan, significand_of
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import FRACTION_BITS, LineTable, along_line, line_table

ARGUMENT_BITS = 23  # fraction of an argument in [1, 2): a significand of FP32

RECIPROCALS: LineTable = line_table(lambda x: 1 / (1 + x))
ROOTS: LineTable = line_table(lambda x: 1 / (1 + x).sqrt())  # 1/√x in [1, 2)
HALF_ROOTS: LineTable = line_table(lambda x: 1 / (2 + 2 * x).sqrt())  # 1/√x in [2, 4)


@jit
def normalised(magnitude: int) -> tuple[int, int]:
    """Return (significand, exponent) of a positive integer: significand · 2^(exponent − ARGUMENT_BITS), in [1, 2).

    Bits below the significand are dropped.
    """
    exponent = bit_length(magnitude) - 1
    shift = ARGUMENT_BITS - exponent
    return (magnitude << shift if shift >= 0 else magnitude >> -shift), exponent


@jit
def reciprocal(significand: int, exponent: int, reciprocals: LineTable) -> tuple[int, int]:
    """Return 1 / (significand · 2^(exponent − ARGUMENT_BITS)) as (found, e): found · 2^(e − FRACTION_BITS)."""
    return along_line(reciprocals, significand - (1 << ARGUMENT_BITS), ARGUMENT_BITS), -exponent


@jit
def reciprocal_root(significand: int, exponent: int, roots: LineTable, half_roots: LineTable) -> tuple[int, int]:
    """Return 1 / √(significand · 2^(exponent − ARGUMENT_BITS)) as (found, e): found · 2^(e − FRACTION_BITS)."""
    fraction = significand - (1 << ARGUMENT_BITS)
    if exponent & 1:
        return along_line(half_roots, fraction, ARGUMENT_BITS), -(exponent >> 1)
    return along_line(roots, fraction, ARGUMENT_BITS), -(exponent >> 1)


@jit
def reciprocal_fp16(bits: int, reciprocals: LineTable) -> int:
    """Return the FP16 bits of 1/x; 1/±0 = ±∞."""
    if is_nan(bits, FP16):
        return FP16.nan
    sign = bits & FP16.sign
    if is_infinite(bits, FP16):
        return sign
    magnitude = significand_of(bits, FP16)
    if magnitude == 0:
        return sign | FP16.infinity
    significand, exponent = normalised(magnitude)
    scale = exponent_of(bits, FP16) - FP16.bias - FP16.fraction_bits
    found, power = reciprocal(significand, exponent + scale, reciprocals)
    return round_magnitude(sign != 0, found, power - FRACTION_BITS, True, FP16)


@jit
def reciprocal_root_fp16(bits: int, roots: LineTable, half_roots: LineTable) -> int:
    """Return the FP16 bits of 1/√x; 1/√±0 = ±∞, NaN below zero."""
    sign = bits & FP16.sign
    magnitude = significand_of(bits, FP16)
    if magnitude == 0:
        return sign | FP16.infinity
    if is_nan(bits, FP16) or sign:
        return FP16.nan
    if is_infinite(bits, FP16):
        return 0
    significand, exponent = normalised(magnitude)
    scale = exponent_of(bits, FP16) - FP16.bias - FP16.fraction_bits
    found, power = reciprocal_root(significand, exponent + scale, roots, half_roots)
    return round_magnitude(False, found, power - FRACTION_BITS, True, FP16)


@jit
def _each_reciprocal(bits: Any, reciprocals: LineTable, found: Any) -> None:
    for i in range(len(bits)):
        found[i] = reciprocal_fp16(bits_of(bits[i]), reciprocals)


@jit
def _each_root(bits: Any, roots: LineTable, half_roots: LineTable, found: Any) -> None:
    for i in range(len(bits)):
        found[i] = reciprocal_root_fp16(bits_of(bits[i]), roots, half_roots)


def reciprocals(bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return 1/x of FP16 bits, element by element."""
    found = np.zeros(bits.size, np.uint16)
    _each_reciprocal(np.ravel(bits), RECIPROCALS, found)
    return found.reshape(bits.shape)


def reciprocal_roots(bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return 1/√x of FP16 bits, element by element."""
    found = np.zeros(bits.size, np.uint16)
    _each_root(np.ravel(bits), ROOTS, HALF_ROOTS, found)
    return found.reshape(bits.shape)
