"""Random work for the NPE's operand side: operations in the order in which a compiler makes them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from skipopu.hdl.cosim.npe_operands_numbers import NEGATIVE_INFINITY, NUMBERS, SCORES, Halves, of_kinds
from skipopu.hdl.npe.operand_operation import Mode, Statistics
from skipopu.hdl.npe.row_memory import BANKS
from skipopu.spec.overlay import Overlay

ELEMENTS = 4096  # most of a row
EXTREME = 0.05  # share of the rows with one element, or as many as there can be
TILES = 768  # row tiles of a column block at most, if a row has fewer
SMALLER = 6  # how often that is halved at most
MOST_HEADS = 6


@dataclass(frozen=True)
class Rows:
    """Row tiles in the global buffer; whoever works on them reads what was written back."""

    tiles: Halves  # [heads' or rows' K-tiles, rows, lanes]
    heads: int
    elements: int  # of a row before it was padded
    bank: int


@dataclass(frozen=True)
class Operation:
    """A matrix operation as the operand side sees it."""

    rows: Rows
    mode: Mode
    statistics: Statistics
    first_block_only: bool
    write_back: bool
    blocks: int
    parts: int
    gamma: Halves  # [K-tiles, lanes]
    beta: Halves
    reads: int  # the operation that took the statistics that this one reads, −1 if it reads none

    @property
    def depth(self) -> int:
        """K-tiles of a column block."""
        return len(self.rows.tiles) * self.parts

    @property
    def requests(self) -> int:
        """Row tiles of all column blocks."""
        return int(self.depth * self.rows.tiles.shape[1] * self.blocks)

    @property
    def changed(self) -> int:
        """Row tiles that are normalised or divided."""
        if self.mode == Mode.AS_IS:
            return 0
        return self.requests // self.blocks if self.first_block_only else self.requests

    @property
    def functions(self) -> dict[str, int]:
        """Row tiles that each function gets."""
        found = {"as is": self.requests} if self.mode == Mode.AS_IS else {}
        found |= {"normalise": self.changed} if self.mode == Mode.NORMALIZE else {}
        found |= {"probability": self.changed} if self.mode == Mode.PROBABILITY else {}
        found |= {"sum statistics": self.requests} if self.statistics == Statistics.SUMS else {}
        return found | ({"score statistics": self.requests} if self.statistics == Statistics.SCORES else {})


FUNCTIONS = ("as is", "normalise", "probability", "sum statistics", "score statistics")


@dataclass
class Work:
    """Operations so far, and the rows whose statistics stand in the memories."""

    overlay: Overlay
    rng: np.random.Generator
    operations: list[Operation] = field(default_factory=list)
    written: Rows | None = None  # some that were written back
    summed: tuple[Rows, int] | None = None  # rows, and the operation that summed them
    scored: dict[int, tuple[Rows, int]] = field(default_factory=dict)  # by bank
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FUNCTIONS, 0))  # row tiles of a function


def operations(overlay: Overlay, tiles: int, rng: np.random.Generator) -> list[Operation]:
    """Return random operations with at least ``tiles`` row tiles of every function."""
    work = Work(overlay, rng)
    while min(work.counts.values()) < tiles:
        steps = list(_possible(work))
        rare = np.array([1 / (1 + max(work.counts[function] for function in o.functions)) for o in steps])
        work.operations.append(steps[int(rng.choice(len(steps), p=rare / rare.sum()))])
        _note(work)
    return work.operations


def _possible(work: Work) -> Iterator[Operation]:
    """Operations that may come next: statistics are read before others take their place."""
    rng = work.rng
    yield _operation(work, work.written or _numbers(work))
    if work.summed:
        rows, reads = work.summed
        yield _operation(work, rows, Mode.NORMALIZE, reads=reads)
    else:
        yield _operation(work, _numbers(work), statistics=Statistics.SUMS)
    for rows, reads in work.scored.values():
        yield _operation(work, rows, Mode.PROBABILITY, reads=reads, parts=int(rng.integers(1, 4)))
    for bank in set(range(BANKS)) - set(work.scored):
        yield _operation(work, _scores(work, bank), statistics=Statistics.SCORES)


def _note(work: Work) -> None:
    """Statistics taken, or read for the last time."""
    o, index, over = work.operations[-1], len(work.operations) - 1, work.rng.random() < 0.8
    for function, count in o.functions.items():
        work.counts[function] += count
    work.written = o.rows if o.write_back else None
    if o.statistics == Statistics.SUMS:
        work.summed = o.rows, index
    elif o.statistics == Statistics.SCORES:
        work.scored[o.rows.bank] = o.rows, index
    elif o.mode == Mode.NORMALIZE and (over or o.write_back):
        work.summed = None
    elif o.mode == Mode.PROBABILITY and (over or o.write_back):
        del work.scored[o.rows.bank]


def _operation(
    work: Work, rows: Rows, mode: Mode = Mode.AS_IS, *, statistics: Statistics = Statistics.NONE, reads: int = -1,
    parts: int = 1,
) -> Operation:  # fmt: skip
    rng, passes = work.rng, mode != Mode.AS_IS
    first_block_only = passes and bool(rng.integers(2))
    blocks = int(rng.choice([1, 1, 2, 3])) if statistics == Statistics.NONE else 1
    if rows.tiles[..., 0].size * parts * blocks > 2 * TILES:
        blocks = parts = 1
    write_back = passes and parts == 1 and (blocks == 1 or first_block_only) and bool(rng.integers(4))
    shape = (len(rows.tiles) * parts, rows.tiles.shape[-1])
    gamma, beta = (of_kinds(NUMBERS, shape, rng) for _ in range(2))
    return Operation(rows, mode, statistics, first_block_only, write_back, blocks, parts, gamma, beta, reads)


def _sizes(work: Work, heads: int) -> tuple[int, int, int]:
    """Elements of a row, K-tiles they fill, rows: long rows or many rows, seldom both."""
    rng, lanes = work.rng, work.overlay.pe_array.dot_length
    elements = round(math.exp(rng.uniform(0, math.log(ELEMENTS))))
    elements = int(rng.choice([1, ELEMENTS])) if rng.random() < EXTREME else elements
    tiles = -(-elements // lanes)
    fit = (TILES >> int(rng.integers(SMALLER + 1))) // (tiles * heads)
    most = max(min(work.overlay.npe.statistics_rows // heads, fit), 1)
    return elements, tiles, int(rng.integers(1, most + 1))


def _numbers(work: Work) -> Rows:
    """Rows of numbers, padded with zeros."""
    elements, tiles, rows = _sizes(work, 1)
    lanes = work.overlay.pe_array.dot_length
    found = of_kinds(NUMBERS, (tiles, rows, lanes), work.rng).copy()
    found[-1, :, elements - (tiles - 1) * lanes :] = 0
    return Rows(found, 1, elements, 0)


def _scores(work: Work, bank: int) -> Rows:
    """Rows of scores of several heads, a tile a K/V round and head, padded with −∞."""
    rng, lanes = work.rng, work.overlay.pe_array.dot_length
    heads = int(rng.integers(1, 1 + min(MOST_HEADS, work.overlay.npe.statistics_rows)))
    elements, rounds, rows = _sizes(work, heads)
    found = of_kinds(SCORES, (rounds, heads, rows, lanes), rng).copy()
    found[-1, ..., elements - (rounds - 1) * lanes :] = NEGATIVE_INFINITY
    return Rows(found.reshape(rounds * heads, rows, lanes), heads, elements, bank)
