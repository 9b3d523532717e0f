"""Operands as the PE array multiplies them: signed significands, exponents; weights in blocks of columns."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP16, bits_of, exponent_of, sign_of, significand_of
from skipopu.numerics.jit import jit
from skipopu.spec.error import SpecError

LONGEST = 512  # products of 22 bits whose sum stays within 32 bits
BLOCK = 128  # columns whose operands and sums stay in the first-level cache
NOTHING = -128  # exponent of a zero weight, so that it never is the largest of a column

Activations = NDArray[np.uint16]
Weights = NDArray[np.uint16] | NDArray[np.int8]


class Rows(NamedTuple):
    """Activations of one K-tile."""

    significands: NDArray[np.int32]  # [rows, S], signed; 0 for infinity and NaN
    exponents: NDArray[np.int32]  # [rows, S], biased
    special: NDArray[np.bool_]  # [rows]: an infinity or NaN is among them


class Columns(NamedTuple):
    """Weights of one K-tile, in blocks padded with zeros."""

    significands: NDArray[np.int16]  # [blocks, S, BLOCK], signed; 0 for infinity and NaN
    exponents: NDArray[np.int8]  # [blocks, S, BLOCK], biased; 0 for INT4; NOTHING for zeros
    special: NDArray[np.bool_]  # [columns]: an infinity or NaN is among them


def check_operands(activations: Activations, weights: Weights) -> None:
    """Raise `SpecError` unless both are [·, S] of a type and length that the array multiplies."""
    if activations.dtype != np.uint16 or weights.dtype not in (np.uint16, np.int8):
        raise SpecError(
            f"dot product of {activations.dtype} and {weights.dtype};"
            " valid: uint16 (FP16 bits) and uint16 or int8 (INT4)"
        )
    if activations.ndim != 2 or weights.ndim != 2 or activations.shape[1] != weights.shape[1]:
        raise SpecError(
            f"dot product of {activations.shape} and {weights.shape}; valid: [rows, S] and [columns, S]"
        )
    if not 0 < activations.shape[1] <= LONGEST:
        raise SpecError(f"dot product of {activations.shape[1]} products; valid: 1 to {LONGEST}")
    if weights.dtype == np.int8 and weights.size and not -8 <= weights.min() <= weights.max() <= 7:
        raise SpecError(f"INT4 weights from {weights.min()} to {weights.max()}; valid: -8 to 7")


def decode_rows(activations: Activations) -> Rows:
    """Decode ``activations`` [rows, S]."""
    shape = activations.shape
    rows = Rows(np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape[0], np.bool_))
    _decode_rows(np.ascontiguousarray(activations), rows)
    return rows


def decode_columns(weights: Weights, int4_shift: int) -> Columns:
    """Decode ``weights`` [columns, S]; INT4 values are shifted left by ``int4_shift``."""
    blocks = (-(-weights.shape[0] // BLOCK), weights.shape[1], BLOCK)
    special = np.zeros(weights.shape[0], np.bool_)
    columns = Columns(np.zeros(blocks, np.int16), np.full(blocks, NOTHING, np.int8), special)
    contiguous = np.ascontiguousarray(weights)
    if weights.dtype == np.int8:
        _decode_int4(contiguous, int4_shift, columns)
    else:
        _decode_fp16(contiguous, columns)
    return columns


@jit
def _is_special(bits: int) -> bool:
    return bits & FP16.infinity == FP16.infinity


@jit
def _signed_significand(bits: int) -> int:
    if _is_special(bits):
        return 0
    value = significand_of(bits, FP16)
    return -value if sign_of(bits, FP16) else value


@jit
def _decode_rows(activations: Any, rows: Rows) -> None:
    for row in range(activations.shape[0]):
        for k in range(activations.shape[1]):
            bits = bits_of(activations[row, k])
            rows.significands[row, k] = _signed_significand(bits)
            rows.exponents[row, k] = exponent_of(bits, FP16)
            if _is_special(bits):
                rows.special[row] = True


@jit
def _decode_fp16(weights: Any, columns: Columns) -> None:
    for column in range(weights.shape[0]):
        block, lane = column // BLOCK, column % BLOCK
        for k in range(weights.shape[1]):
            bits = bits_of(weights[column, k])
            significand = _signed_significand(bits)
            if significand != 0:
                columns.significands[block, k, lane] = significand
                columns.exponents[block, k, lane] = exponent_of(bits, FP16)
            if _is_special(bits):
                columns.special[column] = True


@jit
def _decode_int4(weights: Any, shift: int, columns: Columns) -> None:
    for column in range(weights.shape[0]):
        block, lane = column // BLOCK, column % BLOCK
        for k in range(weights.shape[1]):
            if weights[column, k] != 0:
                columns.significands[block, k, lane] = int(weights[column, k]) << shift
                columns.exponents[block, k, lane] = 0
