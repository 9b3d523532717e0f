"""Partial sums: IEEE additions in the PSUM format into interleaved entries, which leave added up in FP32."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.conversion import psum_format, round_magnitude
from skipopu.numerics.floating_point import (
    FP16,
    FP32,
    Format,
    bits_of,
    exponent_of,
    is_infinite,
    is_nan,
    sign_of,
    significand_of,
)
from skipopu.numerics.jit import jit

Bits = NDArray[np.uint32]
GUARD = 3  # bits below the fraction that decide the rounding: guard, round, sticky
FAR_APART = 31  # alignment shifts beyond leave only the sticky bit, in either format


@jit
def add(a: int, b: int, form: Format) -> int:
    """Return a + b, all three bits of ``form``: nearest even, subnormals, canonical NaN, x + (−x) = +0."""
    if a & (form.sign - 1) < b & (form.sign - 1):
        a, b = b, a
    if a & form.infinity == form.infinity:
        opposed = is_infinite(b, form) and a != b
        return form.nan if is_nan(a, form) or opposed else a
    exponent = exponent_of(a, form)
    large, small = significand_of(a, form) << GUARD, significand_of(b, form) << GUARD
    shift = min(exponent - exponent_of(b, form), FAR_APART)
    aligned = small >> shift
    aligned |= 1 if aligned << shift != small else 0
    negative = sign_of(a, form) == 1
    if sign_of(a, form) == sign_of(b, form):
        total = large + aligned
    else:
        total = large - aligned
        negative = negative and total != 0
    scale = exponent - form.bias - form.fraction_bits - GUARD
    return round_magnitude(negative, total, scale, True, form)


@jit
def widen(bits: int) -> int:
    """Return the FP32 bits of an FP16 number; exact."""
    if is_nan(bits, FP16):
        return FP32.nan
    negative = sign_of(bits, FP16) == 1
    if is_infinite(bits, FP16):
        return FP32.infinity | (FP32.sign if negative else 0)
    scale = exponent_of(bits, FP16) - FP16.bias - FP16.fraction_bits
    return round_magnitude(negative, significand_of(bits, FP16), scale, True, FP32)


def accumulate(dots: Bits, arithmetic: Arithmetic) -> Bits:
    """Add K-tiles into their entries.

    ``dots`` [depth, rows, columns] as `dot_products` returns them, one K-tile after the other; returns
    [rows, min(interleave, depth), columns]. K-tile k goes to slot k mod interleave.
    """
    depth, rows, columns = dots.shape
    entries = np.zeros((rows, min(arithmetic.interleave, depth), columns), np.uint32)
    for tile in range(depth):
        add_tile(dots[tile], tile, entries, arithmetic)
    return entries


def add_tile(dots: Bits, tile: int, entries: Bits, arithmetic: Arithmetic) -> None:
    """Add K-tile ``tile``, ``dots`` [rows, columns], into ``entries`` [rows, slots, columns], in place."""
    _add_tile(np.ascontiguousarray(dots), tile % arithmetic.interleave, psum_format(arithmetic), entries)


@jit
def _add_tile(dots: Any, slot: int, form: Format, entries: Any) -> None:
    for row in range(dots.shape[0]):
        for column in range(dots.shape[1]):
            entry = bits_of(entries[row, slot, column])
            entries[row, slot, column] = add(entry, bits_of(dots[row, column]), form)


def drain(entries: Bits, arithmetic: Arithmetic) -> Bits:
    """Add the slots of ``entries`` [rows, slots, columns] pairwise; returns FP32 bits [rows, columns]."""
    work = entries.copy()
    if arithmetic.fp16_psum:
        _widen(work.reshape(-1))
    _sum_slots(work)
    return np.ascontiguousarray(work[:, 0])


@jit
def _widen(entries: Any) -> None:
    for i in range(len(entries)):
        entries[i] = widen(bits_of(entries[i]))


@jit
def _sum_slots(work: Any) -> None:
    """Leave (e0 + e1) + (e2 + e3) … in slot 0; an odd one passes on to the next level."""
    rows, slots, columns = work.shape
    stride = 1
    while stride < slots:
        for row in range(rows):
            for slot in range(0, slots - stride, 2 * stride):
                for column in range(columns):
                    left, right = bits_of(work[row, slot, column]), bits_of(work[row, slot + stride, column])
                    work[row, slot, column] = add(left, right, FP32)
        stride *= 2
