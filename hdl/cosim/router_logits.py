"""Logits of every kind: pairs of FP32 numbers that are close, equal, of opposite signs, not numbers at all."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP32

Words = NDArray[np.int64]  # bits of FP32 numbers


def logits(count: int, rng: np.random.Generator) -> Words:
    """Return pairs (execute, skip), [count, 2], each of a kind of its own."""
    made = np.stack([kind(count, rng) for kind in KINDS])
    chosen: Words = made[rng.integers(len(KINDS), size=count), np.arange(count)]
    return chosen


def _anything(count: int, rng: np.random.Generator) -> Words:
    return rng.integers(0, 2 * FP32.sign, (count, 2))


def _normal(count: int, rng: np.random.Generator) -> Words:
    return rng.standard_normal((count, 2)).astype(np.float32).view(np.uint32).astype(np.int64)


def _close(count: int, rng: np.random.Generator) -> Words:
    """A unit or two in the last place apart, or nothing; sometimes of opposite signs."""
    first = _normal(count, rng)[:, :1]
    apart = rng.integers(-2, 3, (count, 1)) ^ FP32.sign * (rng.random((count, 1)) < 0.1)
    return np.concatenate([first, first + apart & 2 * FP32.sign - 1], axis=1)


def _equal(count: int, rng: np.random.Generator) -> Words:
    return np.repeat(_anything(count, rng)[:, :1], 2, axis=1)


def _subnormal(count: int, rng: np.random.Generator) -> Words:
    signs = FP32.sign * rng.integers(0, 2, (count, 2))
    return rng.integers(0, 1 << FP32.fraction_bits, (count, 2)) | signs


def _special(count: int, rng: np.random.Generator) -> Words:
    """Zeros of both signs, infinities, NaN of every look, the least and the largest numbers, one."""
    one = FP32.bias << FP32.fraction_bits
    few = np.array([0, 0, FP32.infinity, FP32.infinity + 1, FP32.nan, FP32.sign - 1, 1, FP32.infinity - 1, one])
    return rng.choice(few, (count, 2)) | FP32.sign * rng.integers(0, 2, (count, 2))


KINDS: tuple[Callable[[int, Any], Words], ...] = (_anything, _normal, _close, _equal, _subnormal, _special)
