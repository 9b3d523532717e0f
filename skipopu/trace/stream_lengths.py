"""Seeded lengths of words, sentences and thoughts, in tokens, and when the words of a stream are there."""

from collections.abc import Sequence

import numpy as np

Random = np.random.Generator


def generator(*seed: int) -> Random:
    """Return the random numbers of ``seed``, the same on every machine."""
    return np.random.Generator(np.random.PCG64(seed))


def lengths(random: Random, total: int, mean: float) -> list[int]:
    """Cut ``total`` tokens into units of 1 + Poisson(``mean`` − 1) tokens; the last one takes what is left."""
    drawn = 1 + random.poisson(mean - 1, total)
    ends = np.minimum(np.cumsum(drawn), total)
    return [int(tokens) for tokens in np.diff(ends, prepend=0) if tokens]


def arrivals(units: Sequence[int], per_second: float) -> list[float]:
    """Return when each of ``units`` is there whole, seconds, if ``per_second`` of what they count arrive evenly."""
    return [float(end) / per_second for end in np.cumsum(units)]
