"""Random fields that decide rows: uniform marginals, exact persistence along depth and along tokens.

A row is skipped where the field lies under its skip rate. As the field does not depend on the rate, a larger
rate skips a superset of rows.

Along depth a value is the one of the layer above with probability ρ and otherwise new. Thresholded at any
rate p this is the two-state Markov chain with marginal p and lag-1 correlation ρ:
P(skip | skip above) = ρ + (1 − ρ)p. (A Gaussian copula would nest too, but its correlation changes with p.)

Along tokens a new value, and the choice between old and new, repeat those of the token before with
probability τ′. Two neighbours are then equal with probability
S_l = (1 − ρ)τ′ + ρ(τ′ + (1 − τ′)ρ)·S_{l−1}; S = τ in every layer when layer 0 repeats with probability
τ and the others with τ′ = τ(1 + ρ)/(1 + τρ).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Uniform = NDArray[np.float64]


def uniform_layers(
    seed: tuple[int, ...], layers: int, tokens: int, groups: int, *, rho: float, token_persistence: float
) -> Iterator[Uniform]:
    """Yield the field of each layer in turn, [tokens, groups]; groups are independent of one another."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    deeper = token_persistence * (1 + rho) / (1 + token_persistence * rho)
    above: Uniform | None = None
    for _ in range(layers):
        new, choice, repeat = random.random((3, tokens, groups))
        origin = _origin(repeat, token_persistence if above is None else deeper)
        value = np.take_along_axis(new, origin, axis=0)
        if above is not None:
            value = np.where(np.take_along_axis(choice, origin, axis=0) < rho, above, value)
        yield value
        above = value


def _origin(repeat: Uniform, probability: float) -> NDArray[np.int64]:
    """Return the token whose draws each token uses: itself, or that of the run it continues."""
    token = np.arange(len(repeat), dtype=np.int64)[:, None]
    return np.maximum.accumulate(np.where(repeat < probability, 0, token), axis=0)
