"""What the operand side must give, bit for bit, from `numerics`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_operands_numbers import NEGATIVE_INFINITY, Halves
from skipopu.hdl.cosim.npe_operands_stimulus import Operation, Rows
from skipopu.hdl.npe.operand_operation import Mode, Statistics
from skipopu.hdl.npe.row_statistics import tile_lanes
from skipopu.numerics.row_statistics import RowStatistics, normalised, row_statistics
from skipopu.numerics.softmax import SoftmaxState, add_scores, probabilities, softmax_state
from skipopu.spec.overlay import Overlay

EPSILONS = (1e-5, 1e-6, 0.0)


@dataclass
class Expected:
    """What leaves, in order; a list an operation."""

    rows: list[Halves] = field(default_factory=list)  # [requests, lanes]
    maximum: list[NDArray[Any]] = field(default_factory=list)
    total: list[NDArray[Any]] = field(default_factory=list)
    squares: list[NDArray[Any]] = field(default_factory=list)
    inverse: list[NDArray[Any]] = field(default_factory=list)


def fp32_bits(value: float) -> int:
    """Return the FP32 bits of ``value``."""
    return int(np.float32(value).view(np.uint32))


def settings(index: int, rows: Rows) -> tuple[int, int]:
    """Return FP32 bits of 1/D and ε of the operation ``index``."""
    return fp32_bits(1 / rows.elements), fp32_bits(EPSILONS[index % len(EPSILONS)])


class Model:
    """Runs the operations one by one; keeps the global buffer and the statistics."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._buffer: dict[int, Halves] = {}  # by the rows' identity: what was written back
        self._sums: dict[int, RowStatistics] = {}  # by operation
        self._scores: dict[int, SoftmaxState] = {}
        self.expected = Expected()

    def run(self, operations: Sequence[Operation]) -> Expected:
        """Return what all operations give."""
        for index, o in enumerate(operations):
            tiles = self._buffer.get(id(o.rows), o.rows.tiles)
            if o.statistics == Statistics.SUMS:
                self._take_sums(index, o, tiles)
            elif o.statistics == Statistics.SCORES:
                self._take_scores(index, o, tiles)
            self._rows(o, tiles)
        return self.expected

    def _take_sums(self, index: int, o: Operation, tiles: Halves) -> None:
        found = row_statistics(tiles, *settings(index, o.rows), centred=self._overlay.npe.layer_norm)
        self._sums[index] = found
        self.expected.squares.append(found.squares.ravel())
        self.expected.inverse.append(found.inverse)

    def _take_scores(self, index: int, o: Operation, tiles: Halves) -> None:
        heads, rows, lanes = o.rows.heads, tiles.shape[1], tiles.shape[2]
        state = self._scores[index] = softmax_state(heads * rows)
        padding = ((0, 0), (0, tile_lanes(self._overlay) - lanes))
        for scores in tiles.reshape(-1, heads * rows, lanes):
            add_scores(state, np.pad(scores, padding, constant_values=NEGATIVE_INFINITY))
            self.expected.maximum.append(state.maximum.copy())
            self.expected.total.append(state.total.copy())

    def _rows(self, o: Operation, tiles: Halves) -> None:
        """Rows of all column blocks."""
        changed = self._changed(o, tiles)
        if o.write_back:
            self._buffer[id(o.rows)] = changed
        given = np.repeat(tiles, o.parts, axis=0)
        later = (changed if o.write_back else given) if o.first_block_only else changed
        lanes = tiles.shape[-1]
        self.expected.rows += [each.reshape(-1, lanes) for each in (changed, *[later] * (o.blocks - 1))]

    def _changed(self, o: Operation, tiles: Halves) -> Halves:
        if o.mode == Mode.NORMALIZE:
            beta = o.beta if self._overlay.npe.layer_norm else None
            return normalised(tiles, self._sums[o.reads], o.gamma, beta)
        if o.mode == Mode.PROBABILITY:
            heads, rows, lanes = o.rows.heads, tiles.shape[1], tiles.shape[2]
            state = self._scores[o.reads]
            found = [probabilities(state, scores) for scores in tiles.reshape(-1, heads * rows, lanes)]
            tiles = np.stack(found).reshape(tiles.shape)
        return np.repeat(tiles, o.parts, axis=0)
