"""Attention over K/V rounds: raw scores, softmax word by word in the order of the rounds, context round by round."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.decoder_cache import Rounds
from skipopu.numerics.decoder_products import Products
from skipopu.numerics.exponential import POWERS
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import LineTable
from skipopu.numerics.reciprocal import RECIPROCALS
from skipopu.numerics.reduction import Terms, new_terms
from skipopu.numerics.softmax import NEGATIVE_INFINITY, SoftmaxState, add_row, divide_row, softmax_state

Bits = NDArray[np.uint16]
Bools = NDArray[np.bool_]


def attend(
    products: Products, queries: Bits, keys: Bits, values: Bits, visible: Bools, rounds: Rounds, scale: float,
    lanes: int,
) -> Bits:  # fmt: skip
    """Return the context [rows, d] of FP16 bits ``queries`` [rows, d]; ``keys``, ``values`` [entries, d] of the rounds.

    ``visible`` [rows, entries] is the causal mask; a word of ``lanes`` scores is taken into the statistics at once.
    """
    scores = products.scaled(products.totals(queries, keys), scale)
    placed = np.full((len(queries), rounds.rounds * rounds.width), NEGATIVE_INFINITY, np.uint16)
    placed[:, rounds.places] = np.where(visible, scores, np.uint16(NEGATIVE_INFINITY))
    spread = np.zeros((values.shape[1], placed.shape[1]), np.uint16)
    spread[:, rounds.places] = values.T
    shares = _softmax(placed, rounds, lanes)
    return products.scaled(products.totals(shares, spread, rounds.width), 1.0)


def _softmax(scores: Bits, rounds: Rounds, lanes: int) -> Bits:
    """Probabilities of rows of scores [rows, rounds · width]."""
    state, found = softmax_state(len(scores)), np.zeros(scores.shape, np.uint16)
    _words(scores, rounds.width, min(lanes, rounds.width), state, new_terms(rounds.width), POWERS, RECIPROCALS, found)
    return found


@jit
def _words(
    scores: Any, width: int, lanes: int, state: SoftmaxState, t: Terms, powers: LineTable, reciprocals: LineTable,
    found: Any,
) -> None:  # fmt: skip
    """The statistics of every word of every round, then the probabilities."""
    for first in range(0, scores.shape[1], width):
        for word in range(first, first + width, lanes):
            for row in range(len(scores)):
                add_row(state, row, scores[row, word : min(word + lanes, first + width)], powers, t)
    for row in range(len(scores)):
        divide_row(state, row, scores[row], powers, reciprocals, found)
