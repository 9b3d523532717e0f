"""Rules that turn router logits into decisions: argmax, seeded Gumbel, straight-through, dense, prescribed.

A rule is called as ``rule(site, logits, positions)`` with logits [..., T, 2] and returns [..., T]: Booleans,
or in training a differentiable gate whose value is 0 or 1. True or 1 executes.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

ATTENTION, FFN = 0, 1


class Site(NamedTuple):
    """Where a decision is taken: the layer, and ATTENTION or FFN."""

    layer: int
    module: int


class Rule(Protocol):
    """Anything that decides which tokens execute a module."""

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:
        """Decide for logits [..., T, 2] of tokens at ``positions`` [T]."""
        ...


class Argmax:
    """Execute where logit 0 is not below logit 1."""

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:  # noqa: ARG002
        """Return Booleans [..., T]."""
        return logits[..., 0] >= logits[..., 1]


class Dense:
    """Execute everything."""

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:  # noqa: ARG002
        """Return all True [..., T]."""
        return torch.ones(logits.shape[:-1], dtype=torch.bool, device=logits.device)


@dataclass(frozen=True)
class Sampled:
    """Argmax of logits plus Gumbel noise, as SkipGPT's public code does at inference.

    The noise is a function of seed, layer, module and position alone, so that prefill and decode agree and
    the rows of a batch share it.
    """

    seed: int

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:
        """Return Booleans [..., T]."""
        difference = torch.from_numpy(_logistic(self.seed, site, positions.cpu().numpy()))
        return logits[..., 0] - logits[..., 1] + difference.to(logits) >= 0


@dataclass
class StraightThrough:
    """Gumbel-softmax, hard forward and soft backward; the training loop sets ``temperature``."""

    generator: torch.Generator
    temperature: float = 1.0

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:  # noqa: ARG002
        """Return a gate [..., T] of zeros and ones that carries the soft gradient."""
        exponential = torch.empty(logits.shape, dtype=logits.dtype).exponential_(generator=self.generator)
        noise = -exponential.log().to(logits.device)
        soft = torch.softmax((logits + noise) / self.temperature, dim=-1)[..., 0]
        return (soft >= 0.5).to(soft.dtype) + (soft - soft.detach())


@dataclass(frozen=True)
class Prescribed:
    """Execute what the masks say, [2, layers, ..., T] with module first; positions index the last axis."""

    masks: Tensor

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:  # noqa: ARG002
        """Return the prescribed Booleans [..., T]."""
        return self.masks[site.module, site.layer][..., positions]


@dataclass
class Recorded:
    """Another rule, keeping the logits it saw by site (for calibration and inspection)."""

    rule: Rule
    logits: dict[Site, Tensor] = field(default_factory=dict)

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:
        """Return the inner rule's decision."""
        self.logits[site] = logits.detach()
        return self.rule(site, logits, positions)


def _logistic(seed: int, site: Site, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return logistic noise (the difference of two Gumbel draws), one value per position."""
    key = np.full(positions.shape, seed, dtype=np.uint64)
    for part in (np.uint64(site.layer), np.uint64(site.module), positions.astype(np.uint64)):
        key = _mixed(key ^ part)
    uniform = ((key >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return np.asarray(np.log(uniform) - np.log1p(-uniform))


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): scatters neighbouring keys."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))
