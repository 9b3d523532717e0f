"""Online softmax: a running maximum and sum a row, then probabilities (SkipOPU §3, Algorithm 2)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.conversion import round_magnitude
from skipopu.numerics.exponential import POWERS, bounded, exponential, unbounded_argument
from skipopu.numerics.floating_point import FP16, FP32, bits_of, exponent_of, is_nan, significand_of
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import FRACTION_BITS, LineTable
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.psum import add
from skipopu.numerics.reciprocal import RECIPROCALS, reciprocal
from skipopu.numerics.reduction import Terms, new_terms, reduced
from skipopu.numerics.router import ordered

NEGATIVE_INFINITY = FP16.sign | FP16.infinity


class SoftmaxState(NamedTuple):
    """Statistics of rows of scores, updated in place."""

    maximum: NDArray[np.uint16]  # [rows], FP16 bits
    total: NDArray[np.uint32]  # [rows], FP32 bits: sum of e^(score − maximum)


def softmax_state(rows: int) -> SoftmaxState:
    """Return the statistics of rows without a score."""
    return SoftmaxState(np.full(rows, NEGATIVE_INFINITY, np.uint16), np.zeros(rows, np.uint32))


def add_scores(state: SoftmaxState, scores: NDArray[np.uint16]) -> None:
    """Take a tile of ``scores`` [rows, lanes], FP16 bits, into the statistics."""
    terms = new_terms(scores.shape[1])
    for row, tile in enumerate(np.ascontiguousarray(scores)):
        add_row(state, row, tile, POWERS, terms)


def probabilities(state: SoftmaxState, scores: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return e^(score − maximum) / total of ``scores`` [rows, lanes] as FP16 bits."""
    found = np.zeros(scores.shape, np.uint16)
    for row, tile in enumerate(np.ascontiguousarray(scores)):
        divide_row(state, row, tile, POWERS, RECIPROCALS, found)
    return found


@jit
def larger(a: int, b: int) -> int:
    """Return the larger of two FP16 numbers; a NaN is larger than all."""
    if is_nan(a, FP16) or is_nan(b, FP16):
        return FP16.nan
    return a if ordered(a, FP16.sign) >= ordered(b, FP16.sign) else b


@jit
def power_below(score: int, maximum: int, powers: LineTable) -> tuple[int, int]:
    """Return e^(score − maximum), at most about 1, as `exponential` does."""
    difference = unbounded_argument(score) - unbounded_argument(maximum)
    return exponential(bounded(difference), powers)


@jit
def add_row(state: SoftmaxState, row: int, scores: Any, powers: LineTable, t: Terms) -> None:
    """Take a tile of one row's scores [lanes] into its statistics."""
    before = bits_of(state.maximum[row])
    maximum = before
    for lane in range(len(scores)):
        maximum = larger(maximum, bits_of(scores[lane]))
    for lane in range(len(scores)):
        t.terms[lane], exponent = power_below(bits_of(scores[lane]), maximum, powers)
        t.exponents[lane] = exponent - FRACTION_BITS
    kept = bits_of(state.total[row])
    if maximum != before:
        kept = _rescaled(kept, before, maximum, powers)
    state.maximum[row] = maximum
    state.total[row] = add(kept, reduced(t, len(scores)), FP32)


@jit
def _rescaled(total: int, before: int, maximum: int, powers: LineTable) -> int:
    """The sum so far, relative to a larger maximum."""
    power, exponent = power_below(before, maximum, powers)
    factor = round_magnitude(False, power, exponent - FRACTION_BITS, True, FP32)
    return multiply(total, FP32, factor, FP32, FP32)


@jit
def divide_row(
    state: SoftmaxState, row: int, scores: Any, powers: LineTable, reciprocals: LineTable, found: Any
) -> None:
    """Put the probabilities of a tile of one row's scores [lanes] into ``found`` [row, lane]."""
    maximum, total = bits_of(state.maximum[row]), bits_of(state.total[row])
    inverse, scale = reciprocal(significand_of(total, FP32), exponent_of(total, FP32) - FP32.bias, reciprocals)
    special = maximum & FP16.infinity == FP16.infinity
    for lane in range(len(scores)):
        power, shift = power_below(bits_of(scores[lane]), maximum, powers)
        exponent = shift + scale - 2 * FRACTION_BITS
        quotient = round_magnitude(False, power * inverse, exponent, True, FP16)
        found[row, lane] = FP16.nan if special else quotient

