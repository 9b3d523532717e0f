"""Random row blocks for the whole NPE: tokens are routed, scores leave and come back as probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.psum import drain
from skipopu.numerics.router import executed
from skipopu.spec.overlay import Overlay

MOST_ROUNDS = 6
TILES = 3  # of a row that is normalised
Numbers = NDArray[Any]


@dataclass(frozen=True)
class RowBlock:
    """Tokens of a row block and what meets them."""

    mask: int  # mask register, and bank of the statistics
    logits: Numbers  # [rows, slots, columns], PSUM entries: execute and skip first
    scores: Numbers  # [rounds, executed rows, slots, columns], PSUM entries of two packed heads
    visible: Numbers  # [rounds, executed rows, heads, lanes], keys that a query may see
    x: Numbers  # [tiles, executed rows, dot_length], FP16 bits, to be normalised
    gamma: Numbers  # [tiles, dot_length]
    executed: Numbers  # rows of the block that execute


def row_blocks(overlay: Overlay, count: int, rng: np.random.Generator) -> list[RowBlock]:
    """Return ``count`` row blocks in alternating mask registers; one in five has no executed row."""
    return [_row_block(overlay, number & 1, rng) for number in range(count)]


def _row_block(overlay: Overlay, mask: int, rng: np.random.Generator) -> RowBlock:
    pe, rows = overlay.pe_array, int(rng.integers(1, 1 + overlay.dataflow.row_block))
    slots = int(rng.integers(1, 1 + overlay.psum.interleave))
    logits = _sums(rng, (rows, slots, pe.columns), 1.0)
    if rng.random() < 0.2:
        logits[:, :, 1] = np.float32(1e6).view(np.uint32)
    found = np.flatnonzero(executed(drain(logits, arithmetic_of(overlay))[:, :2]))
    rounds = int(rng.integers(1, 1 + MOST_ROUNDS))
    lanes = min(pe.columns, overlay.npe.lanes)
    visible = rng.random((rounds, len(found), 2, lanes)) < rng.choice([0.2, 0.9, 1.0])
    x = rng.standard_normal((TILES, len(found), pe.dot_length)) * 2.0 ** rng.integers(-4, 5)
    gamma = rng.standard_normal((TILES, pe.dot_length))
    return RowBlock(
        mask, logits, _sums(rng, (rounds, len(found), slots, pe.columns), 4.0), visible,
        x.astype(np.float16).view(np.uint16), gamma.astype(np.float16).view(np.uint16), found,
    )  # fmt: skip


def _sums(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> Numbers:
    return (rng.standard_normal(shape) * scale).astype(np.float32).view(np.uint32)
