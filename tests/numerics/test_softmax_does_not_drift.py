"""Online softmax tile by tile against float64 over the whole row, for any length, order and tiling."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.softmax import add_scores, probabilities, softmax_state

Scores = NDArray[np.float16]
# relative: score and maximum each lose less than 2^−18 of the argument, a line of the table is 2^−19 from its curve
POWER_ERROR = 2.0**-17 + 2.0**-19
TOTAL_ERROR = POWER_ERROR + 2.0**-20  # and some additions in FP32
HALF_ULP = 2.0**-11 + POWER_ERROR + TOTAL_ERROR + 2.0**-17  # the reciprocal's lines; of a normal probability
LENGTHS = (1, 2, 63, 64, 65, 128, 1000, 4096)


def tiles(scores: Scores, lanes: int) -> list[NDArray[np.uint16]]:
    return [scores[:, first : first + lanes].view(np.uint16) for first in range(0, scores.shape[1], lanes)]


def ours(scores: Scores, lanes: int = 64) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums and probabilities."""
    state = softmax_state(len(scores))
    for tile in tiles(scores, lanes):
        add_scores(state, tile)
    found = np.concatenate([probabilities(state, tile) for tile in tiles(scores, lanes)], axis=1)
    return state.total.view(np.float32).astype(np.float64), found.view(np.float16).astype(np.float64)


def exact(scores: Scores) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    wide = scores.astype(np.float64)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return powers.sum(axis=1), powers / powers.sum(axis=1, keepdims=True)


def agree(scores: Scores, lanes: int = 64) -> None:
    (total, found), (expected_total, expected) = ours(scores, lanes), exact(scores)
    assert np.abs(total / expected_total - 1).max() <= TOTAL_ERROR
    normal = expected >= 2.0**-14
    assert np.abs(found[normal] / expected[normal] - 1).max(initial=0) <= HALF_ULP
    assert np.abs(found - expected)[~normal].max(initial=0) <= 2.0**-25 * 1.01


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0, 1000.0])
def test_the_error_does_not_grow_with_the_length(length: int, spread: float) -> None:
    rng = np.random.default_rng(length)
    agree((rng.standard_normal((4, length)) * spread).astype(np.float16))


@pytest.mark.parametrize("length", LENGTHS)
def test_a_maximum_that_rises_with_every_tile_costs_nothing(length: int) -> None:
    """Every tile rescales the sum."""
    agree(np.linspace(-20, 20, length, dtype=np.float16)[None])


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 128), st.sampled_from([0.1, 3.0, 300.0]), st.integers(0, 2**32 - 1))
def test_any_tiling_is_as_exact(length: int, lanes: int, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    agree((rng.standard_normal((2, length)) * spread + rng.integers(-100, 100)).astype(np.float16), lanes)


@pytest.mark.parametrize("special", [np.inf, np.nan])
def test_a_row_with_a_special_score_is_nan_and_no_other(special: float) -> None:
    scores = np.zeros((2, 100), np.float16)
    scores[0, 70] = special
    _, found = ours(scores)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_a_score_of_minus_infinity_takes_no_part() -> None:
    scores = np.zeros((1, 8), np.float16)
    scores[0, 3] = -np.inf
    total, found = ours(scores)
    assert found[0, 3] == 0
    assert abs(total[0] - 7) <= 7 * TOTAL_ERROR
