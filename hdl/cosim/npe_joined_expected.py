"""What the whole NPE must do with row blocks: which rows it reads, and the numbers that come of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_joined_stimulus import HEADS, RowBlock
from skipopu.hdl.cosim.npe_joined_words import EPSILON
from skipopu.numerics.normalization import rms_norm
from skipopu.numerics.softmax import NEGATIVE_INFINITY, add_scores, probabilities, softmax_state
from skipopu.spec.overlay import Overlay

Numbers = NDArray[Any]


def indices(work: Sequence[RowBlock]) -> Numbers:
    """Rows of the block behind every request: all of them for logits, those that execute for scores."""
    every = [(np.arange(len(b.logits)), np.tile(np.repeat(b.executed, HEADS), len(b.scores))) for b in work]
    return np.concatenate([part for pair in every for part in pair])[:, None]


def reads(work: Sequence[RowBlock]) -> Numbers:
    """Rows of the block behind every read of scores, row tiles for their sums (not looked at), row tiles."""
    found = []
    for b in work:
        rows = b.executed
        summed = np.zeros(len(rows) * len(b.x), np.int64)
        found += [np.tile(rows, HEADS * len(b.scores)), summed, np.tile(rows, len(b.x))]
    return np.concatenate(found)[:, None]


def expected_numbers(work: Sequence[RowBlock], raw: Numbers, overlay: Overlay) -> tuple[Numbers, Numbers]:
    """Probabilities of the raw scores that left, and normalised row tiles."""
    dot, at, shares, norms = overlay.pe_array.dot_length, 0, [], []
    for b in work:
        rounds, rows = len(b.scores), len(b.executed)
        if not rows:
            continue
        left = raw[at : at + rounds * rows * HEADS].reshape(rounds, rows, HEADS, -1)
        at += rounds * rows * HEADS
        padded = np.full((*left.shape[:-1], dot), NEGATIVE_INFINITY, np.uint16)
        padded[..., : left.shape[-1]] = left
        tiles = padded.transpose(0, 2, 1, 3).reshape(rounds, HEADS * rows, dot)  # round, head, row
        state = softmax_state(HEADS * rows)
        for tile in tiles:
            add_scores(state, tile)
        shares += [probabilities(state, tile) for tile in tiles]
        x, gamma = b.x.transpose(1, 0, 2).reshape(rows, -1), b.gamma.reshape(-1)
        normal = rms_norm(x, gamma, EPSILON, dot)
        norms.append(normal.reshape(rows, -1, dot).transpose(1, 0, 2).reshape(-1, dot))
    return np.concatenate(shares), np.concatenate(norms)
