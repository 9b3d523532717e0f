"""Lengths of generations: log-normal with a given mean, and cut short by a constant hazard.

Chains of thought have long tails; that they are log-normal is our choice, no length distribution is published.
"""

import math

import numpy as np
from numpy.typing import NDArray

from skipopu.trace.stream_lengths import Random, generator
from skipopu.trace.workloads.published import method

Lengths = NDArray[np.int64]
Shares = NDArray[np.float64]


def draw(work: str, count: int, mean: float, spread: float, seed: int, most: int, grace: int = 0) -> Lengths:
    """Return the tokens of ``count`` generations under the method ``work``, [count], 1 … ``most`` each.

    ``mean`` is that of the model before, ``spread`` the deviation of the logarithm. A method that terminates
    rollouts ends none before ``grace`` tokens; its hazard is the one that keeps the published share on average.
    """
    figures, random = method(work), generator(seed)
    if figures.how == "scaled":
        return log_normal(random, count, mean * figures.kept_share, spread, most)
    whole = log_normal(random, count, mean, spread, most)
    return terminated(random, whole, hazard_for(figures.kept_share, mean, spread, most, grace), grace)


def log_normal(random: Random, count: int, mean: float, spread: float, most: int) -> Lengths:
    """Return ``count`` lengths of 1 … ``most`` tokens whose mean is ``mean`` where ``most`` cuts nothing."""
    drawn = mean * np.exp(spread * random.standard_normal(count) - spread**2 / 2)
    return np.clip(np.rint(drawn), 1, most).astype(np.int64)


def terminated(random: Random, lengths: Lengths, hazard: float, grace: int) -> Lengths:
    """Return ``lengths`` cut where each token after the first ``grace`` ends its rollout with chance ``hazard``."""
    if hazard <= 0:
        return lengths
    last = grace + random.geometric(min(1.0, hazard), len(lengths))
    return np.minimum(lengths, last)


def hazard_for(kept_share: float, mean: float, spread: float, most: int, grace: int = 0) -> float:
    """Return the hazard that leaves ``kept_share`` of the tokens on average, found by bisection.

    1 where ``grace`` already leaves more than that.
    """
    whole = log_normal(generator(0), SAMPLES, mean, spread, most)
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        kept = expected(whole, middle, grace).mean() / whole.mean()
        low, high = (middle, high) if kept > kept_share else (low, middle)
    return high


def expected(lengths: Lengths, hazard: float, grace: int) -> Shares:
    """Return the mean length of each rollout that ``terminated`` cuts: Σ over tokens of the chance to reach them."""
    free = np.minimum(lengths, grace)
    if hazard <= 0:
        return lengths.astype(np.float64)
    return np.asarray(free + (1 - np.exp((lengths - free) * math.log1p(-min(hazard, CERTAIN)))) / hazard)


def all_correct(random: Random, solve_rates: Shares, samples: int) -> NDArray[np.bool_]:
    """Return which groups of ``samples`` rollouts are all right, [groups]: they teach nothing (EchoRL).

    ``solve_rates`` [groups] is the chance of each prompt to be solved by one rollout.
    """
    right = random.random((len(solve_rates), samples)) < np.asarray(solve_rates)[:, None]
    return np.asarray(right.all(axis=1))


SAMPLES, STEPS = 20000, 50  # of the bisection: its error is that of the sample mean, under 1 %
CERTAIN = 1 - 1e-12  # a hazard of 1 has no logarithm of what survives
