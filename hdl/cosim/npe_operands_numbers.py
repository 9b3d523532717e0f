"""FP16 numbers and scores of every kind, whole rows of one kind."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.uint16]
Kind = Callable[[tuple[int, ...], np.random.Generator], Halves]
KINDS = 4  # of numbers in an operation
SIGN, ONE, INFINITY, NEGATIVE_INFINITY, NAN, LARGEST = 0x8000, 0x3C00, 0x7C00, 0xFC00, 0x7E00, 0x7BFF
SPECIALS = np.array([INFINITY, NEGATIVE_INFINITY, NAN, 0x7C01, 0xFFFF, 0, SIGN, 1, 0x83FF, LARGEST], np.uint16)


def halves(values: NDArray[np.float64]) -> Halves:
    """Return FP16 bits, overflow as infinity."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16)


def normal(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Around zero, of one scale a row."""
    scale = 2.0 ** rng.integers(-6, 5, (*shape[:-1], 1))
    return halves(rng.standard_normal(shape) * scale)


def any_finite(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Any finite bits, large ones as likely as small ones."""
    return (rng.integers(0, INFINITY, shape) | rng.integers(0, 2, shape) << 15).astype(np.uint16)


def subnormal(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Subnormals, the least normals, zeros of both signs."""
    bits = rng.integers(0, 0x800, shape) >> rng.choice([0, 4, 11], shape)
    found: Halves = (bits | rng.integers(0, 2, shape) << 15).astype(np.uint16)
    return found


def cancelling(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """A few large magnitudes with random signs: sums near zero, and zero itself."""
    few = np.array([0, ONE, ONE + 1, 0x7000, 0x7001, LARGEST], np.uint16)
    signs: Halves = (rng.integers(0, 2, shape) << 15).astype(np.uint16)
    return rng.choice(few, shape) | signs


def alike(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """All numbers of a row the same, or nearly: the variance is what the roundings leave, often below zero."""
    middle, differ = rng.integers(0x2000, 0x6000, (1, *shape[1:-1], 1)), rng.integers(0, 2, (1, *shape[1:-1], 1))
    return (middle + differ * rng.integers(0, 2, shape)).astype(np.uint16)


def special(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Normal numbers with infinities, NaN, zeros and the ends of the format among them."""
    mask = rng.random(shape) < rng.choice([0.001, 0.01, 0.2])
    return np.where(mask, rng.choice(SPECIALS, shape), normal(shape, rng))


def growing(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Scores whose maximum grows from tile to tile, or never after the first one."""
    steps = np.linspace(-1, 1, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    slope = rng.choice([-1, 1], (1, *shape[1:-1], 1)) * rng.uniform(0, 40)
    return halves(rng.standard_normal(shape) + steps * slope)


def huge(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Scores so far apart that one of them is all that counts."""
    return halves(rng.standard_normal(shape) * 2.0**14)


def nothing(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Scores of which most are hidden: rows of −∞, at first or throughout."""
    seen = rng.random(shape) < rng.choice([0.0, 0.01, 0.3])
    return np.where(seen, normal(shape, rng), np.uint16(NEGATIVE_INFINITY))


def zeros(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Zeros of both signs."""
    signs: Halves = (rng.integers(0, 2, shape) << 15).astype(np.uint16)
    return signs


NUMBERS: tuple[Kind, ...] = (normal, normal, any_finite, subnormal, cancelling, alike, special, zeros)
SCORES: tuple[Kind, ...] = (normal, growing, growing, growing, any_finite, subnormal, huge, nothing, special, zeros)


def of_kinds(kinds: tuple[Kind, ...], shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """Return rows of a few of ``kinds``, each of one; the first axis are K-tiles, the last one lanes."""
    few = [kinds[int(k)](shape, rng) for k in rng.integers(0, len(kinds), KINDS)]
    found: Halves = np.choose(rng.integers(0, KINDS, (1, *shape[1:-1], 1)), few)
    return found
