"""Random work for the result path: operations of every function, their sums and side data."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_results_numbers import KINDS, Numbers
from skipopu.hdl.npe.result_operation import lanes_of, rotary_depth
from skipopu.program.isa import Post
from skipopu.spec.npe import result_words
from skipopu.spec.overlay import Overlay

LEAST_OPERATIONS = 8  # of a kind
MOST_WORDS = 4096  # of an operation, about
MOST_ROTARY_WORDS = 6
FEW_ROWS = 2
EXTREME = 0.1  # share of the operations with as many rows as there can be
ROWS = ((0.6, 4), (0.3, 24), (0.08, 160), (0.02, 4096))  # share of the operations, rows at most


class Kind(NamedTuple):
    """A use of the result path."""

    function: int = Post.NONE
    masked: bool = False
    statistics: bool = False
    route: bool = False


KIND_OF = {
    "none": Kind(), "rope": Kind(Post.ROPE), "swiglu": Kind(Post.SWIGLU), "residual": Kind(Post.RESIDUAL),
    "relu": Kind(Post.RELU), "scores": Kind(masked=True, statistics=True), "raw scores": Kind(masked=True),
    "route": Kind(route=True), "gelu": Kind(Post.GELU),
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """A matrix operation as the result side sees it; W lanes, T words of a row."""

    kind: str
    rows: int
    blocks: int
    slots: int
    words: int
    split: bool
    bias: bool
    list_rows: int
    rotary_words: int
    rotary_stride: int
    round_blocks: int
    sums: NDArray[Any]  # [blocks, rows, slots, columns], bits of the PSUM format
    scale: NDArray[np.uint32]  # [blocks, rows, T, W]
    biases: NDArray[np.uint16]
    residuals: NDArray[np.uint16]
    visible: NDArray[np.bool_]

    @property
    def use(self) -> Kind:
        """What it is."""
        return KIND_OF[self.kind]

    @property
    def row_words(self) -> int:
        """Words in all."""
        return self.blocks * self.rows * self.words


class Stimulus:
    """Draws operations of ``overlay``."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator) -> None:
        self._overlay, self._rng, self._numbers = overlay, rng, Numbers(rng)

    def operations(self, tiles: int) -> list[Operation]:
        """Return operations of every kind in random order, each kind with ``tiles`` words at least."""
        kinds = [kind for kind in KIND_OF if kind != "gelu" or self._overlay.npe.gelu]
        found = [operation for kind in kinds for operation in self._enough(kind, tiles)]
        return [found[k] for k in self._rng.permutation(len(found))]

    def rotary(self) -> NDArray[np.uint16]:
        """Return the ROT buffer, [words, W]: small angles' cosines and sines, and any numbers."""
        shape = (rotary_depth(self._overlay), lanes_of(self._overlay))
        rows = [self._numbers.draw("fp16", shape, kind) for kind in (0, 2)]
        return np.where(self._rng.random((shape[0], 1)) < 0.7, *rows)

    def _enough(self, kind: str, tiles: int) -> Iterator[Operation]:
        words = count = 0
        while words < tiles or count < LEAST_OPERATIONS:
            operation = self._operation(kind)
            words, count = words + operation.row_words, count + 1
            yield operation

    def _operation(self, kind: str) -> Operation:
        rng, pe, lanes = self._rng, self._overlay.pe_array, self._overlay.npe.lanes
        split = kind != "route" and bool(rng.random() < 0.4)
        words = result_words(pe.columns, lanes, 1 + split)
        words = int(rng.choice([1, words])) if kind == "route" else words
        rotary_words = int(rng.integers(1, 1 + min(MOST_ROTARY_WORDS, rotary_depth(self._overlay))))
        rotary_stride = int(rng.integers(rotary_words, 1 + min(2 * rotary_words, rotary_depth(self._overlay))))
        rows = min(self._rows(), self._most_rows(kind, 1 + split, rotary_stride))
        list_rows = int(rng.choice([n for n in range(1, rows + 1) if rows % n == 0]))
        blocks = int(rng.integers(1, 2 + min(8, MOST_WORDS // (rows * words))))
        most = self._overlay.npe.statistics_rows // (rows * (1 + split)) if kind == "scores" else blocks
        some = int(rng.integers(1, 1 + min(most, blocks)))
        slots = int(rng.integers(1, 1 + self._overlay.psum.interleave))
        return Operation(
            kind, rows, blocks, slots, words, split, bool(rng.integers(2)), list_rows, rotary_words, rotary_stride,
            int(rng.choice([1, some])), *self._data((blocks, rows), slots, words),
        )  # fmt: skip

    def _rows(self) -> int:
        most = int(self._rng.choice([rows for _, rows in ROWS], p=[share for share, _ in ROWS]))
        return most if self._rng.random() < EXTREME else int(self._rng.integers(1, 1 + most))

    def _most_rows(self, kind: str, heads: int, rotary_stride: int) -> int:
        """Statistics are kept for few rows, and of one or two every tile has to wait for the one before.

        ROT has few, and the list's Gray code spreads them to a power of two.
        """
        if kind == "scores":
            most = self._overlay.npe.statistics_rows // heads
            return int(self._rng.choice([min(FEW_ROWS, most), most]))
        if kind == "rope":
            return 1 << (rotary_depth(self._overlay) // rotary_stride).bit_length() - 1
        return ROWS[-1][1]

    def _data(self, rows: tuple[int, int], slots: int, words: int) -> tuple[NDArray[Any], ...]:
        """Sums and side data: each of a kind of its own, or all of numbers that cancel."""
        columns, lanes = self._overlay.pe_array.columns, lanes_of(self._overlay)
        kinds = self._rng.integers(0, KINDS, 4) if self._rng.random() < 0.7 else np.ones(4, np.int64)
        shape = (*rows, words, lanes)
        return (
            self._numbers.draw(self._overlay.psum.format, (*rows, slots, columns), int(kinds[0])),
            self._numbers.draw("fp32", shape, int(kinds[1])),
            self._numbers.draw("fp16", shape, int(kinds[2])), self._numbers.draw("fp16", shape, int(kinds[3])),
            self._rng.random(shape) < self._rng.choice([0.5, 0.9, 1.0]),
        )  # fmt: skip
