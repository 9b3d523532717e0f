"""Weight tiles for the PE array, each as the array must have it and as its stream brings it."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.pe_array_numbers import Halves, anything, numbers
from skipopu.spec.ker_shape import KerShape


@dataclass(frozen=True)
class Tiles:
    """Tiles of an operation; column blocks of all rounds, B, one after the other.

    Of K/V also the rounds' lanes, and their chunks, all rounds one after the other: what a lane without a token has is
    anything.
    """

    weights: NDArray[np.int8] | Halves  # [B, depth, columns, dot_length]
    rounds: int = 1
    width: int = 1  # columns of a V tile, or of router weights
    masks: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), np.bool_))  # [rounds, lanes]
    chunks: Halves = field(default_factory=lambda: np.zeros((0, 0, 0, 0), np.uint16))  # [rounds, chunks, lanes, chunk]

    @property
    def int4(self) -> bool:
        """Weights are INT4."""
        return self.weights.dtype == np.int8


def weight_tiles(shape: KerShape, blocks: int, depth: int, int4: bool, rng: np.random.Generator) -> Tiles:
    """Tiles from HBM, all columns."""
    whole = (blocks, depth, shape.columns, shape.dot_length)
    return Tiles(rng.integers(-8, 8, whole).astype(np.int8) if int4 else numbers(whole, rng))


def constant_tiles(shape: KerShape, depth: int, logits: int, rng: np.random.Generator) -> Tiles:
    """Router weights: only the first columns."""
    weights = np.zeros((1, depth, shape.columns, shape.dot_length), np.uint16)
    weights[:, :, :logits] = numbers((1, depth, logits, shape.dot_length), rng)
    return Tiles(weights, width=logits)


def key_tiles(shape: KerShape, rounds: int, blocks: int, depth: int, rng: np.random.Generator) -> Tiles:
    """K: a token is a column, in each half of them if two heads are packed."""
    masks = _masks(shape, rounds, rng)
    vectors = numbers((rounds, shape.lanes, blocks, depth, shape.heads, shape.dot_length), rng)
    weights = np.zeros((rounds, blocks, depth, shape.columns, shape.dot_length), np.uint16)
    for number, mask in enumerate(masks):
        for slot, lane in _slots(shape, mask):
            for head in range(shape.heads):
                column = head * (shape.columns // 2) + slot
                weights[number, :, :, column] = vectors[number, lane, :, :, head]
    return Tiles(
        weights.reshape(rounds * blocks, *weights.shape[2:]), rounds, masks=masks,
        chunks=_chunks(shape, masks, vectors, rng),
    )  # fmt: skip


def value_tiles(shape: KerShape, rounds: int, turns: int, width: int, rng: np.random.Generator) -> Tiles:
    """V: a token is a place in the dot products; what it has beyond them is zero."""
    masks = _masks(shape, rounds, rng)
    vectors = numbers((rounds, shape.lanes, turns, width), rng)
    weights = np.zeros((rounds, turns, shape.columns, shape.dot_length), np.uint16)
    for number, mask in enumerate(masks):
        for slot, lane in _slots(shape, mask):
            weights[number, :, :width, slot] = vectors[number, lane]
    whole = weights.reshape(1, rounds * turns, *weights.shape[2:])
    return Tiles(whole, 1, width, masks, _chunks(shape, masks, vectors, rng))


def _masks(shape: KerShape, rounds: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """At least a token a round, no more than there are slots."""
    masks = np.zeros((rounds, shape.lanes), np.bool_)
    for mask in masks:
        tokens = int(rng.choice([shape.slots, int(rng.integers(1, 1 + shape.slots))]))
        mask[rng.choice(shape.lanes, tokens, replace=False)] = True
    return masks


def _slots(shape: KerShape, mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Slot and lane of every token: the number of its lane, or its rank where there are fewer slots than lanes."""
    lanes = [int(lane) for lane in np.flatnonzero(mask)]
    direct = shape.lanes <= min(shape.columns // 2, shape.dot_length)
    return [(lane if direct else rank, lane) for rank, lane in enumerate(lanes)]


def _chunks(shape: KerShape, masks: NDArray[np.bool_], vectors: Halves, rng: np.random.Generator) -> Halves:
    """A chunk of every lane, and the next, round after round."""
    rounds, lanes = masks.shape
    cut = vectors.reshape(rounds, lanes, -1, shape.chunk).swapaxes(1, 2)
    return np.where(masks[:, None, :, None], cut, anything(cut.shape, rng))
