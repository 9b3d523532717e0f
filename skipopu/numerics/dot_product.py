"""One K-tile of the PE array: dot products at a shared exponent, rounded once into the PSUM format.

Every product is an exact integer product of significands. The nonzero products of a column are brought to the
largest of their exponents, added as integers, and the sum becomes floating point once (SkipOPU §4.2).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.conversion import fixed_to_float, psum_format
from skipopu.numerics.floating_point import FP16, Format
from skipopu.numerics.jit import jit
from skipopu.numerics.operands import (
    BLOCK,
    NOTHING,
    Activations,
    Columns,
    Rows,
    Weights,
    check_operands,
    decode_columns,
    decode_rows,
)
from skipopu.numerics.special_values import put_specials
from skipopu.spec.number_format import INT4_PRODUCT_BITS, PRODUCT_BITS

GONE = 31  # alignment shift that leaves nothing of a product
ZERO_EXPONENT = FP16.bias + FP16.fraction_bits  # a significand stands for 2^(exponent − ZERO_EXPONENT)


class Tree(NamedTuple):
    """How products become a sum and the sum a number."""

    drop: int  # low bits that a product loses before alignment
    half: int  # 1: alignment adds half of the last kept bit
    scale: int  # exponent of two of the sum's last bit, less the shared exponent
    nearest: bool  # output rounding
    form: Format  # of the result


def tree_of(arithmetic: Arithmetic, *, int4: bool) -> Tree:
    """Return the constants of ``arithmetic`` for FP16 or INT4 weights."""
    drop = 0 if int4 else PRODUCT_BITS - arithmetic.product_bits
    scale = -ZERO_EXPONENT - _int4_shift(arithmetic) if int4 else drop - 2 * ZERO_EXPONENT
    half = 1 if arithmetic.nearest_alignment else 0
    return Tree(drop, half, scale, arithmetic.nearest_output, psum_format(arithmetic))


def dot_products(activations: Activations, weights: Weights, arithmetic: Arithmetic) -> NDArray[np.uint32]:
    """Return the dot products of one K-tile, [rows, columns] bits of the PSUM format.

    ``activations`` [rows, S] are FP16 bits; ``weights`` [columns, S] FP16 bits (uint16) or INT4 values
    (int8); S ≤ 512. FP16 results stand in the low 16 bits. `SpecError` for other types, shapes or values.
    """
    check_operands(activations, weights)
    rows, columns = decode_rows(activations), decode_columns(weights, _int4_shift(arithmetic))
    tree = tree_of(arithmetic, int4=weights.dtype == np.int8)
    found = np.zeros((len(activations), len(weights)), np.uint32)
    _dot_products(rows, columns, tree, np.zeros(BLOCK, np.int32), np.zeros(BLOCK, np.int32), found)
    if rows.special.any() or columns.special.any():
        put_specials(activations, weights, rows.special, columns.special, tree.form, found)
    return found


def _int4_shift(arithmetic: Arithmetic) -> int:
    return arithmetic.product_bits - INT4_PRODUCT_BITS


@jit
def _dot_products(rows: Rows, columns: Columns, tree: Tree, largest: Any, totals: Any, found: Any) -> None:
    for block in range(len(columns.significands)):
        first = block * BLOCK
        for row in range(len(rows.special)):
            exponents = columns.exponents[block]
            _largest_exponents(rows, row, exponents, largest)
            _sum_aligned(rows, row, columns.significands[block], exponents, largest, tree, totals)
            for lane in range(min(BLOCK, found.shape[1] - first)):
                total, exponent = int(totals[lane]), int(largest[lane]) + tree.scale
                found[row, first + lane] = fixed_to_float(total, exponent, tree.nearest, tree.form)


@jit
def _largest_exponents(rows: Rows, row: int, exponents: Any, largest: Any) -> None:
    """Shared exponent of every column: the largest of its nonzero products."""
    for lane in range(BLOCK):
        largest[lane] = NOTHING
    for k in range(len(exponents)):
        if rows.significands[row, k] != 0:
            own = rows.exponents[row, k]
            for lane in range(BLOCK):
                largest[lane] = max(largest[lane], np.int32(own + exponents[k, lane]))


@jit
def _sum_aligned(
    rows: Rows, row: int, significands: Any, exponents: Any, largest: Any, tree: Tree, totals: Any
) -> None:
    """Sum of every column's products at its shared exponent; the product of a zero adds nothing."""
    for lane in range(BLOCK):
        totals[lane] = 0
    for k in range(len(exponents)):
        if rows.significands[row, k] != 0:
            factor, own = rows.significands[row, k], rows.exponents[row, k]
            for lane in range(BLOCK):
                product = factor * significands[k, lane]
                shift = min(largest[lane] - (own + exponents[k, lane]), GONE)
                # one bit more than is kept, so that half of the last kept bit can be added
                aligned = ((abs(product) >> tree.drop << 1 >> shift) + tree.half) >> 1
                totals[lane] += -aligned if product < 0 else aligned
