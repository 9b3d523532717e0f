"""The simulator's row lists, row masks and bitmask are what was routed long enough ago, whenever one looks."""

from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.program.isa import Gate
from skipopu.sim.bitmask import (
    PLACES,
    RowMasks,
    begin_route,
    new_row_masks,
    route_row,
    row_at,
    row_bits,
    row_count,
    token_executed,
)
from skipopu.spec.npe import Npe
from skipopu.spec.overlay import Overlay

ROWS, LAYERS, TOKENS = 6, 3, 64
MASKS, ROUTED = (0, 1), (Gate.ATTENTION, Gate.FFN)


class Route(NamedTuple):
    """An operation; ``tokens`` are (gap before, bits of the gates)."""

    gap: int
    gates: int
    mask: int
    layer: int
    first_token: int
    tokens: list[tuple[int, int]]


class Event(NamedTuple):
    """A start (row −1) or a routed row; ``number`` of the operation."""

    cycle: int
    number: int
    row: int
    executes: int


gaps = st.sampled_from([0, 0, 0, 1, 2, 20])
routes = st.lists(
    st.builds(
        Route, gaps, st.integers(1, 3), st.integers(0, 1), st.integers(0, LAYERS - 1), st.integers(0, TOKENS - ROWS),
        st.lists(st.tuples(gaps, st.integers(0, 3)), min_size=1, max_size=ROWS),
    ), max_size=6,
)  # fmt: skip


@cache
def overlay(stages: int) -> Overlay:
    sizes = (f"dataflow.row_block={ROWS}", f"bitmask.rows={LAYERS}", f"bitmask.tokens={TOKENS}")
    return Overlay.load("tiny", (*sizes, f"npe.route_stages={stages}"))


def events_of(operations: list[Route]) -> list[Event]:
    """Starts and rows in order; the first row may come with its start, the next operation the cycle after."""
    found, now = [], 0
    for number, route in enumerate(operations):
        now += route.gap
        found.append(Event(now, number, -1, 0))
        for row, (gap, executes) in enumerate(route.tokens):
            now += gap
            found.append(Event(now, number, row, executes))
            now += 1
    return found


class Definition:
    """What can be read, from the whole history each time."""

    def __init__(self, operations: list[Route], events: list[Event], stages: int) -> None:
        self.operations, self.events, self.stages = operations, events, stages

    def seen(self, now: int) -> list[Event]:
        return [e for e in self.events if e.cycle + self.stages <= now]

    def rows(self, now: int, gate: Gate, mask: int) -> list[int]:
        """The list of a register."""
        seen, bit = self.seen(now), gate - Gate.ATTENTION
        begun = [e.number for e in seen if e.row < 0 and self._writes(e, bit, mask)]
        return [e.row for e in seen if begun and e.number == begun[-1] and e.row >= 0 and e.executes >> bit & 1]

    def block_rows(self, now: int, mask: int) -> int:
        begun = [e.number for e in self.seen(now) if e.row < 0 and self.operations[e.number].mask == mask]
        return len(self.operations[begun[-1]].tokens) if begun else 0

    def bits(self, now: int, mask: int, row: int) -> int:
        found = 0
        for bit in range(len(ROUTED)):
            last = [e.executes for e in self.seen(now) if e.row == row and self._writes(e, bit, mask)][-1:]
            found |= sum(last) & 1 << bit
        return found

    def executed(self, now: int) -> NDArray[np.bool_]:
        """The bitmask, [layer, token]."""
        found = np.zeros((LAYERS, TOKENS), np.bool_)
        for e in self.seen(now):
            route = self.operations[e.number]
            if e.row >= 0 and route.gates & 1:
                found[route.layer, route.first_token + e.row] = e.executes & 1
        return found

    def _writes(self, event: Event, bit: int, mask: int) -> bool:
        route = self.operations[event.number]
        return route.mask == mask and bool(route.gates >> bit & 1)


@settings(max_examples=60, deadline=None)
@given(routes, st.integers(1, 16), st.data())
def test_lists_bits_and_counts_follow_the_definition(operations: list[Route], stages: int, data: st.DataObject) -> None:
    events = events_of(operations)
    end = events[-1].cycle + stages if events else 0
    looks = data.draw(st.sets(st.integers(0, end), max_size=12)) | {end}
    b, definition = new_row_masks(overlay(stages)), Definition(operations, events, stages)
    for now in range(end + 1):
        for event in (e for e in events if e.cycle == now):
            route = operations[event.number]
            if event.row < 0:
                rows = len(route.tokens)
                begin_route(b, now, route.gates, route.mask, rows, route.layer, route.first_token)
            else:
                route_row(b, now, event.row, event.executes)
        if now in looks:
            compare(b, definition, now)


def compare(b: RowMasks, definition: Definition, now: int) -> None:
    for mask in MASKS:
        for gate in ROUTED:
            count = row_count(b, now, gate, mask)
            assert [row_at(b, now, gate, mask, k) for k in range(count)] == definition.rows(now, gate, mask)
        assert row_count(b, now, Gate.ALL, mask) == definition.block_rows(now, mask)
        assert [row_at(b, now, Gate.ALL, mask, k) for k in range(ROWS)] == list(range(ROWS))
        assert [row_bits(b, now, mask, k) for k in range(ROWS)] == [definition.bits(now, mask, k) for k in range(ROWS)]
    found = [[token_executed(b, now, layer, token) for token in range(TOKENS)] for layer in range(LAYERS)]
    assert np.array_equal(found, definition.executed(now))


@pytest.mark.parametrize("stages", [1, 2, 16])
def test_a_row_can_be_read_route_stages_cycles_after_its_logits_and_not_before(stages: int) -> None:
    b = new_row_masks(overlay(stages))
    begin_route(b, 7, 1, 1, ROWS, 2, 9)
    route_row(b, 7, 4, 1)
    for now, there in ((7, 0), (6 + stages, 0), (7 + stages, 1)):
        assert row_count(b, now, Gate.ATTENTION, 1) == there
        assert token_executed(b, now, 2, 13) == there
    assert row_at(b, 7 + stages, Gate.ATTENTION, 1, 0) == 4


def test_the_ring_holds_what_the_longest_pipeline_holds() -> None:
    """Two changes a cycle: a start and a row."""
    most = Npe.__dataclass_fields__["route_stages"].metadata["bound"].high
    assert 2 * (most + 1) <= PLACES


def test_the_overlay_sizes_the_registers() -> None:
    tiny = overlay(1)
    b = new_row_masks(replace(tiny, dataflow=replace(tiny.dataflow, row_block=TOKENS)))
    assert b.listed.shape == (2, 2, TOKENS)
    assert b.executed.shape == (LAYERS, TOKENS)
