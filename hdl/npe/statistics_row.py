"""Statistics row: which row of the statistics a row tile belongs to, and where in its row it stands."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value

from skipopu.hdl.npe.operand_operation import Mode, Statistics
from skipopu.hdl.npe.row_memory import row_bits
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import TILE_BITS


class StatisticsRow:
    """Counters over the K-tiles of an operation: part of a head, head, K/V round.

    ``row`` is that of the current tile: of scores head · rows + row, of numbers the row of the block, ``listed``. In
    ``turn`` rows of an operation are told apart without the list. ``first_block``, ``first_tile``, ``last_tile``
    describe the tile.
    """

    def __init__(self, m: Module, operation: Any, request: Any, listed: Value, rows: int) -> None:
        self._m, self._operation = m, operation
        self._part, self._head = Signal(TILE_BITS, name="part"), Signal(TILE_BITS, name="head")
        self._base = Signal(row_bits(rows), name="head_base")
        self._first_round, self.first_block = Signal(name="first_round"), Signal(name="first_block")
        scores = named(
            m, (operation.statistics == Statistics.SCORES) | (operation.mode == Mode.PROBABILITY), "of_scores"
        )
        turn = Mux(scores, self._base + request.row, request.row)
        self.turn: Value = named(m, turn[: row_bits(rows)], "turn")
        self.row: Value = named(m, Mux(scores, self.turn, self._row_of_block(listed, rows)), "statistics_row")
        self._last_row = named(m, request.row == operation.rows - 1, "last_row")
        self.last_tile: Value = named(m, request.tile == operation.depth - 1, "last_tile")
        self._last_part = named(m, self._part == operation.parts - 1, "last_part")
        self._last_head = named(m, self._head == operation.heads - 1, "last_head")
        self.first_tile: Value = named(m, self._first(scores, request), "first_tile")

    def _row_of_block(self, listed: Value, rows: int) -> Value:
        """Statistics of a norm were taken of all rows of the block; only some of them are normalised."""
        return listed[: row_bits(rows)]

    def start(self) -> None:
        """Statements: back to the first tile."""
        m = self._m
        m.d.sync += [self._part.eq(0), self._head.eq(0), self._base.eq(0)]
        m.d.sync += [self._first_round.eq(1), self.first_block.eq(1)]

    def advance(self) -> None:
        """Statements: past the current tile."""
        m = self._m
        with m.If(self._last_row):
            m.d.sync += self._part.eq(Mux(self._last_part, 0, self._part + 1))
            with m.If(self._last_part):
                m.d.sync += [
                    self._head.eq(Mux(self._last_head, 0, self._head + 1)), self._base.eq(self._next_base()),
                ]  # fmt: skip
                with m.If(self._last_head):
                    m.d.sync += self._first_round.eq(0)
            with m.If(self.last_tile):
                m.d.sync += [self._first_round.eq(1), self.first_block.eq(0)]

    def _first(self, scores: Value, request: Any) -> Value:
        """The tile is the first one of its row."""
        return Mux(scores, self._first_round & (self._part == 0), request.tile == 0)

    def _next_base(self) -> Value:
        """Rows of one head after those of another."""
        return Mux(self._last_head, 0, self._base + self._operation.rows)
