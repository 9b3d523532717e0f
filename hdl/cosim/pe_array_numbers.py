"""FP16 numbers for the PE array: an array is of one kind."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.uint16]
SPECIALS = np.array([0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFFFF, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF], np.uint16)


def numbers(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Return FP16 bits of one kind."""
    kinds: tuple[Callable[..., Halves], ...] = (_normal, _normal, _any_finite, _subnormal, _cancelling, _special)
    return kinds[int(rng.integers(len(kinds)))](shape, rng)


def anything(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Return any bits: what stands where nobody looks."""
    return rng.integers(0, 1 << 16, shape, np.uint16)


def _normal(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    scale = 2.0 ** rng.integers(-6, 4)
    return (rng.standard_normal(shape) * scale).astype(np.float16).view(np.uint16)


def _any_finite(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    bits = rng.integers(0, 0x7C00, shape) | rng.integers(0, 2, shape) << 15
    return bits.astype(np.uint16)


def _subnormal(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    bits = rng.integers(0, 0x800, shape) | rng.integers(0, 2, shape) << 15
    return bits.astype(np.uint16)


def _cancelling(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """A few magnitudes, signs at random: sums near zero, and zero itself."""
    few = rng.choice(np.array([0, 0x3C00, 0x3C01, 0x4000], np.uint16), shape)
    signs: Halves = (rng.integers(0, 2, shape) << 15).astype(np.uint16)
    return few | signs


def _special(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Normal numbers with infinities, NaN, zeros and the edges of the format among them."""
    rate = rng.choice([0.001, 0.01, 0.2])
    mask = rng.random(shape) < rate
    return np.where(mask, rng.choice(SPECIALS, shape), _normal(shape, rng))
