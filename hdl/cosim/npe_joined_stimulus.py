"""Random row blocks for the whole NPE: tokens are routed, scores leave and come back as probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.npe.result_operation import lanes_of
from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.psum import drain
from skipopu.numerics.router import executed
from skipopu.spec.overlay import Overlay

MOST_ROUNDS = 6
HEADS = 2  # packed
TILES = 3  # of a row that is normalised
FLOATS = {"fp32": np.float32, "fp16": np.float16}
NOBODY = 1e4  # a logit to skip that none to execute reaches
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
    form = np.dtype(FLOATS[overlay.psum.format])
    drawn = rng.standard_normal((rows, slots, pe.columns))
    if rng.random() < 0.2:
        drawn[:, :, 1] = NOBODY
    logits = _bits(drawn, form)
    found = np.flatnonzero(executed(drain(logits, arithmetic_of(overlay))[:, :2]))
    rounds = int(rng.integers(1, 1 + MOST_ROUNDS))
    lanes = lanes_of(overlay)
    visible = rng.random((rounds, len(found), HEADS, lanes)) < rng.choice([0.2, 0.9, 1.0])
    x = rng.standard_normal((TILES, len(found), pe.dot_length)) * 2.0 ** rng.integers(-4, 5)
    gamma = rng.standard_normal((TILES, pe.dot_length))
    return RowBlock(
        mask, logits, _bits(rng.standard_normal((rounds, len(found), slots, pe.columns)) * 4, form), visible,
        x.astype(np.float16).view(np.uint16), gamma.astype(np.float16).view(np.uint16), found,
    )  # fmt: skip


def _bits(numbers: Numbers, form: np.dtype[Any]) -> Numbers:
    """Bits of the PSUM format, in 32-bit words."""
    return numbers.astype(form).view(f"u{form.itemsize}").astype(np.uint32)
