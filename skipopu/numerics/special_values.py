"""Infinities and NaN in a dot product: what it is when an operand is not finite."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP16, FP32, Format, bits_of, is_infinite, is_nan
from skipopu.numerics.jit import jit
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.operands import Activations, Weights


def put_specials(
    activations: Activations,
    weights: Weights,
    special_row: NDArray[np.bool_],
    special_column: NDArray[np.bool_],
    form: Format,
    found: NDArray[np.uint32],
) -> None:
    """Overwrite the dot products ``found`` [rows, columns] that have an infinite or NaN operand."""
    if weights.dtype == np.int8:  # sign and zero are all that counts beside an infinity
        weights = np.sign(weights).astype(np.float16).view(np.uint16)
    row, column = np.ascontiguousarray(activations), np.ascontiguousarray(weights)
    _put_specials(row, column, special_row, special_column, form, found)


@jit
def _put_specials(
    activations: Any, weights: Any, special_row: Any, special_column: Any, form: Format, found: Any
) -> None:
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            if special_row[row] or special_column[column]:
                found[row, column] = _special(activations[row], weights[column], form)


@jit
def _special(row: Any, column: Any, form: Format) -> int:
    """NaN, or the infinity that all infinite products agree on."""
    positive, negative = False, False
    for k in range(len(row)):
        product = multiply(bits_of(row[k]), FP16, bits_of(column[k]), FP16, FP32)
        if is_nan(product, FP32):
            return form.nan
        if is_infinite(product, FP32):
            positive, negative = positive or product == FP32.infinity, negative or product != FP32.infinity
    if positive and negative:
        return form.nan
    return form.infinity | (form.sign if negative else 0)
