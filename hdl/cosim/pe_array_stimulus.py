"""Random work for the PE array: operations, weights and rows, with every kind of FP16 number."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.overlay import Overlay

Halves = NDArray[np.uint16]
MOST_TILES = 24  # of an operation
ROWS = ((0.6, 4), (0.3, 16), (0.1, 64))  # share of the operations, rows at most
SPECIALS = np.array([0x7C00, 0xFC00, 0x7E00, 0x7C01, 0xFFFF, 0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF], np.uint16)


@dataclass(frozen=True)
class Operation:
    """A matrix operation and its data."""

    int4: bool
    rows: int
    depth: int
    blocks: int
    activations: Halves  # [depth, rows, dot_length]
    weights: NDArray[Any]  # [blocks, depth, columns, dot_length], int8 or FP16 bits

    @property
    def tiles(self) -> int:
        """Weight tiles."""
        return self.blocks * self.depth


def operations(overlay: Overlay, tiles: int, rng: np.random.Generator) -> list[Operation]:
    """Return random operations of at least ``tiles`` tiles together."""
    found: list[Operation] = []
    while sum(o.tiles for o in found) < tiles:
        found.append(_operation(overlay, rng))
    return found


def _operation(overlay: Overlay, rng: np.random.Generator) -> Operation:
    pe, psum = overlay.pe_array, overlay.psum
    depth = int(rng.integers(1, 1 + MOST_TILES // 2))
    blocks = int(rng.integers(1, 1 + MOST_TILES // depth))
    most = rng.choice([rows for _, rows in ROWS], p=[share for share, _ in ROWS])
    rows = int(rng.integers(1, 1 + min(most, psum.entries // min(depth, psum.interleave))))
    int4 = bool(rng.integers(2))
    shape = (blocks, depth, pe.columns, pe.dot_length)
    weights = rng.integers(-8, 8, shape).astype(np.int8) if int4 else _numbers(shape, rng)
    return Operation(int4, rows, depth, blocks, _numbers((depth, rows, pe.dot_length), rng), weights)


def _numbers(shape: tuple[int, ...], rng: np.random.Generator) -> Halves:
    """FP16 bits of one kind."""
    kinds: tuple[Callable[..., Halves], ...] = (_normal, _normal, _any_finite, _subnormal, _cancelling, _special)
    return kinds[int(rng.integers(len(kinds)))](shape, rng)


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
