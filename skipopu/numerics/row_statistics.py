"""Statistics of rows of numbers as they grow tile by tile, and the tiles normalised by them."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP32, bits_of
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import LineTable
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.normalization import inverse_deviation, scaled_element, tile_sums
from skipopu.numerics.psum import add
from skipopu.numerics.reciprocal import HALF_ROOTS, ROOTS
from skipopu.numerics.reduction import Terms, new_terms

Bits = NDArray[np.uint16]
Wide = NDArray[np.uint32]


class RowStatistics(NamedTuple):
    """FP32 bits of the sums of each row with its first tiles taken in, and of what follows from all of them."""

    squares: Wide  # [tiles, rows]: Σx² of the tiles up to this one
    numbers: Wide  # [tiles, rows]: Σx
    mean: Wide  # [rows], zero unless centred
    inverse: Wide  # [rows]: 1/√(Σx²/D − mean² + ε)


def row_statistics(x: Bits, share: int, epsilon: int, *, centred: bool) -> RowStatistics:
    """Return the statistics of rows of tiles ``x`` [tiles, rows, lanes], FP16 bits.

    ``share``, ``epsilon`` : FP32 bits of 1/D and ε. ``centred`` : for LayerNorm, else RMSNorm.
    """
    tiles, rows, lanes = x.shape
    found = RowStatistics(*(np.zeros(shape, np.uint32) for shape in ((tiles, rows), (tiles, rows), rows, rows)))
    _statistics(np.ascontiguousarray(x), share, epsilon, centred, new_terms(lanes), ROOTS, HALF_ROOTS, found)
    return found


@jit
def _statistics(
    x: Any, share: int, epsilon: int, centred: bool, t: Terms, roots: LineTable, half_roots: LineTable,
    found: RowStatistics,
) -> None:  # fmt: skip
    for row in range(x.shape[1]):
        square = number = mean = 0
        for tile in range(x.shape[0]):
            square = add(square, tile_sums(x[tile, row], t, False), FP32)
            number = add(number, tile_sums(x[tile, row], t, True), FP32)
            found.squares[tile, row], found.numbers[tile, row] = square, number
        if centred:
            mean = multiply(number, FP32, share, FP32, FP32)
        found.mean[row] = mean
        found.inverse[row] = inverse_deviation(square, mean, share, epsilon, roots, half_roots)


def normalised(x: Bits, statistics: RowStatistics, gamma: Bits, beta: Bits | None) -> Bits:
    """Return tiles ``x`` [tiles, rows, lanes] normalised; ``gamma``, with LayerNorm ``beta`` [tiles, lanes]."""
    found = np.zeros(x.shape, np.uint16)
    offset = np.zeros_like(gamma) if beta is None else beta
    _normalise(
        np.ascontiguousarray(x), statistics, np.ascontiguousarray(gamma), np.ascontiguousarray(offset),
        beta is not None, found,
    )  # fmt: skip
    return found


@jit
def _normalise(x: Any, s: RowStatistics, gamma: Any, beta: Any, centred: bool, found: Any) -> None:
    for tile in range(x.shape[0]):
        for row in range(x.shape[1]):
            mean, inverse = bits_of(s.mean[row]), bits_of(s.inverse[row])
            for k in range(x.shape[2]):
                scale, shift = bits_of(gamma[tile, k]), bits_of(beta[tile, k])
                found[tile, row, k] = scaled_element(bits_of(x[tile, row, k]), mean, inverse, scale, shift, centred)
