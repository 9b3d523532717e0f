"""Lag-1 correlations along depth and along tokens equal rho and token_persistence, at every rate.

Each replicate (a token, or a seed) is independent of the others, so that the spread between replicates gives
the standard error of their mean; five of them are allowed.
"""

from math import sqrt

import numpy as np
import pytest
from small_traces import shape

from skipopu.trace import synthesize
from skipopu.trace.field import uniform_layers

SIGMAS = 5
RATES = (0.1, 0.25, 0.6)


def correlations(bits: np.ndarray, rate: float, axis: int) -> np.ndarray:
    """Lag-1 products along ``axis`` in units of the variance p(1 − p), whose mean is the correlation."""
    centred = np.moveaxis(bits - rate, axis, 0)
    return centred[1:] * centred[:-1] / (rate * (1 - rate))


def assert_mean(samples: np.ndarray, wanted: float) -> None:
    """Compare the mean of independent ``samples`` with ``wanted``."""
    error = samples.std(ddof=1) / sqrt(len(samples))
    assert samples.mean() == pytest.approx(wanted, abs=SIGMAS * error + 1e-12)
    assert error < 0.1  # the comparison means something


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7, 0.95])
def test_rho_is_the_correlation_along_depth(rho: float, rate: float) -> None:
    trace = synthesize("skipgpt", shape(32), 3000, 0, attention_skip=rate, ffn_skip=rate, rho=rho, seed=6)
    for rows in (trace.rows("q")[1:], trace.rows("ffn")):
        assert_mean(correlations(~rows, rate, axis=0).mean(axis=0), rho)


@pytest.mark.parametrize("rho", [0.2, 0.8])
def test_skips_follow_skips_as_in_a_markov_chain(rho: float) -> None:
    rate = 0.25
    skipped = ~synthesize("bernoulli", shape(16), 6000, 0, skip=rate, rho=rho, seed=1).rows("q")
    followed = skipped[1:][skipped[:-1]].mean()
    assert followed == pytest.approx(rho + (1 - rho) * rate, abs=0.02)
    # the chain has no longer memory: given one layer, the one before it says nothing
    two_back = skipped[2:][skipped[1:-1] & ~skipped[:-2]].mean()
    assert two_back == pytest.approx(rho + (1 - rho) * rate, abs=0.03)


def replicates(rho: float, run: float, seeds: int = 1500, layers: int = 5, tokens: int = 8) -> np.ndarray:
    """Independent fields, [seeds, layers, tokens]."""
    made = [
        list(uniform_layers((s,), layers, tokens, 1, rho=rho, token_persistence=run)) for s in range(seeds)
    ]
    return np.asarray(made)[..., 0]


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("run", [0.0, 0.5, 0.95])
def test_both_persistences_hold_together_in_every_layer(rho: float, run: float) -> None:
    fields = replicates(rho, run)
    same_as_before = fields[:, :, 1:] == fields[:, :, :-1]
    same_as_above = fields[:, 1:] == fields[:, :-1]
    for layer in range(fields.shape[1]):
        assert_mean(same_as_before[:, layer].mean(axis=1), run)
    assert_mean(same_as_above.mean(axis=(1, 2)), rho)
    for rate in RATES:
        assert_mean(correlations(fields < rate, rate, axis=2).mean(axis=(0, 2)), run)
        assert_mean(correlations(fields < rate, rate, axis=1).mean(axis=(0, 2)), rho)


@pytest.mark.parametrize(("rho", "run"), [(0.0, 0.0), (0.6, 0.7)])
def test_the_field_is_uniform_everywhere(rho: float, run: float) -> None:
    fields = replicates(rho, run, seeds=2000, layers=3, tokens=4)
    for rate in RATES:
        allowed = SIGMAS * sqrt(rate * (1 - rate) / len(fields))
        assert np.abs((fields < rate).mean(axis=0) - rate).max() < allowed


def test_full_persistence_along_depth_repeats_the_first_layer() -> None:
    rows = synthesize("bernoulli", shape(6), 500, 0, skip=0.4, rho=1.0).rows("q")
    assert np.all(rows == rows[:1])
    assert 0 < rows.mean() < 1


def test_groups_decide_independently() -> None:
    fields = np.asarray(list(uniform_layers((3,), 8, 2000, 2, rho=0.5, token_persistence=0.0)))
    assert abs(np.corrcoef(fields[..., 0].ravel(), fields[..., 1].ravel())[0, 1]) < 0.05
