"""From logits to bitmask: RTL, numerics, simulator and NumPy agree in every bit and every cycle."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from skipopu.hdl.cosim.router import cosimulate
from skipopu.hdl.cosim.router_given import given_table
from skipopu.hdl.cosim.router_lists import list_difference
from skipopu.hdl.cosim.router_model import UNSAID, expected_table
from skipopu.hdl.cosim.router_shell import fields, found_layout, given_layout, names, words
from skipopu.hdl.cosim.router_stimulus import Work, work
from skipopu.hdl.router import RouterPath
from skipopu.hdl.row_list import RowList
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

TOKENS, FULL, SEED = 2000, 20_000, 11
LARGE = ("dataflow.row_block=4096", "bitmask.tokens=16384")
TINY = Overlay.load("tiny")
VARIANTS = {
    "one stage": ("npe.route_stages=1",),
    "the most stages": ("npe.route_stages=16",),
    "blocks of one row, one layer": ("dataflow.row_block=1", "bitmask.rows=1"),
    "odd sizes": ("dataflow.row_block=37", "bitmask.rows=5", "bitmask.tokens=99", "npe.route_stages=3"),
}


def agree(overlay: Overlay, tokens: int = TOKENS) -> None:
    found = cosimulate(overlay, tokens, SEED)
    assert found.difference is None, str(found.difference)
    assert found.tokens >= tokens
    assert min(found.executed, found.ties, found.nans) > tokens // 50
    assert found.reads > found.cycles


def test_tiny() -> None:
    agree(TINY)


@pytest.mark.slow
def test_twenty_thousand_tokens_of_tiny() -> None:
    agree(TINY, FULL)


@pytest.mark.slow
def test_row_blocks_of_1_to_4096_rows() -> None:
    agree(Overlay.load("tiny", LARGE), 2 * FULL)


@pytest.mark.slow
def test_the_u280() -> None:
    agree(Overlay.load("skipopu-u280"))


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", settings))


def test_a_simulator_that_reads_another_number_is_found_out() -> None:
    found = cosimulate(Overlay.load("tiny", ("npe.route_stages=3",)), TOKENS, SEED, rtl=TINY)
    assert found.difference is not None
    assert found.difference.kind == "cycle"


def stimulus(overlay: Overlay, tokens: int) -> tuple[Work, NDArray[np.int64]]:
    rng = np.random.default_rng(SEED)
    todo = work(overlay, tokens, rng)
    return todo, given_table(todo, overlay, rng)


def test_the_stimulus_has_every_size_class_register_and_succession() -> None:
    todo, _ = stimulus(Overlay.load("tiny", LARGE), 2 * FULL)
    rows = {o.rows for o in todo.operations}
    assert {int(each).bit_length() for each in rows} == set(range(1, 14))
    assert {1, 4096} <= rows
    todo, _ = stimulus(TINY, TOKENS)
    pairs = list(zip(todo.operations, todo.operations[1:], strict=False))
    at_once = [(a, b) for a, b in pairs if b.cycles[0] == b.start == a.cycles[-1] + 1]
    assert {(a.mask, b.mask) for a, b in at_once} == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert {o.gates for o in todo.operations} == {1, 2, 3}
    assert {o.layer for o in todo.operations} == set(range(TINY.bitmask.rows))


def test_words_and_fields_are_inverse() -> None:
    _, given = stimulus(TINY, 100)
    layout = given_layout(TINY)
    assert np.array_equal(fields(words(given, layout), layout), given)


@pytest.mark.parametrize(
    "signal", ["operand_row", "operand_count", "result_row", "result_count", "row_bits", "scan_here"]
)
def test_the_definition_in_numpy_agrees_with_the_simulator_and_sees_what_is_wrong(signal: str) -> None:
    todo, given = stimulus(TINY, 300)
    signals = names(found_layout(TINY))
    found = expected_table(given, TINY)
    found[found == UNSAID] = 0
    assert list_difference(todo, found, signals) is None
    sweep = todo.sweeps[-1]
    column, at = signals.index(signal), slice(sweep.start, sweep.start + sweep.length + 1)
    found[at, column] ^= 3  # both gates' bits
    difference = list_difference(todo, found, signals)
    assert difference is not None
    assert difference.signal == signal


@pytest.mark.parametrize("rows", [0, 4097])
def test_a_row_list_of_no_size_is_refused(rows: int) -> None:
    with pytest.raises(SpecError) as error:
        RowList(rows=rows)
    assert str(error.value) == (
        f"dataflow.row_block = {rows}; the row list holds rows of one block; valid: 1..4096"
    )  # fmt: skip


def test_more_rows_than_tokens_are_refused() -> None:
    with pytest.raises(SpecError) as error:
        RouterPath(overlay=Overlay.load("tiny", ("dataflow.row_block=300",)))
    assert str(error.value) == (
        "overlay tiny: dataflow.row_block = 300; every row of a row block is a token of the bitmask"
        " (bitmask.tokens = 256); valid: 1..256"
    )


def test_a_size_that_did_not_come_from_a_file_is_refused_too() -> None:
    with pytest.raises(SpecError, match=r"dataflow\.row_block = 0"):
        RouterPath(overlay=replace(TINY, dataflow=replace(TINY.dataflow, row_block=0)))
