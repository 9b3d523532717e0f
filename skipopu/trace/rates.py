"""Skip rates per layer and token whose mean is the target and which rise with it everywhere."""

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError

Rates = NDArray[np.float64]


def row_rates(
    name: str, skip: float, profile: tuple[float, ...], slope: float, layers: int, tokens: int
) -> Rates:
    """Return the skip rate of every routed row, [layers, tokens], with mean ``skip``.

    Monotone in ``skip`` at every row. Raises SpecError, naming knobs that begin with ``name``, where the
    profile keeps too many layers from skipping.
    """
    per_layer = layer_rates(name, skip, profile, layers)
    # the line through the layer's rate, as steep as asked for or as 0..1 allows
    rise = np.minimum(abs(slope) / 2, np.minimum(per_layer, 1 - per_layer))
    position = np.linspace(-1, 1, tokens) if tokens > 1 else np.zeros(tokens)
    return np.asarray(per_layer[:, None] - np.sign(slope) * rise[:, None] * position)


def layer_rates(name: str, skip: float, profile: tuple[float, ...], layers: int) -> Rates:
    """Return rates [layers] proportional to the profile, no more than 1, with mean ``skip``."""
    if not layers:
        return np.zeros(0)
    if not profile:
        raise SpecError(f"knob {name}_profile is empty; expected at least one weight, e.g. 1")
    weight = np.interp(np.linspace(0, 1, layers), np.linspace(0, 1, len(profile)), profile)
    limit = np.count_nonzero(weight) / layers
    if skip > limit:
        raise SpecError(
            f"knob {name}_skip = {skip:g} is more than {name}_profile allows; its zeros keep layers on;"
            f" must be in 0..{limit:g}; nearest: {limit:g}"
        )
    return np.minimum(1.0, weight * _scale(weight, skip * layers)) if skip else np.zeros(layers)


def _scale(weight: Rates, total: float) -> float:
    """Return the factor c with Σ min(1, c·weight) = total: saturate the heaviest layers one after another."""
    falling = np.sort(weight[weight > 0])[::-1]
    rest = np.cumsum(falling[::-1])[::-1]  # rest[k]: weight of all but the k heaviest
    full = np.arange(len(falling))
    factor = (total - full) / rest
    fits = factor * falling <= 1 + 1e-12  # the heaviest layer that is left does not saturate
    return float(factor[np.argmax(fits)]) if fits.any() else 1.0 / float(falling[-1])
