"""Ratios against the first run, printed with units that suit the numbers."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipopu.results.compare import Row, compare, table, text, title
from skipopu.results.quantity import number, quantity, scale, times


@pytest.fixture(scope="module")
def summaries(case, dense):
    return [dense.result().summary, case.result().summary]


def test_ratios_are_against_the_first(summaries):
    rows = {row.label: row for row in compare(summaries)}
    assert {row.ratios[0] for row in rows.values()} <= {1.0, None}
    cycles = rows["core cycles"]
    assert cycles.ratios[1] == summaries[1]["core_cycles"] / summaries[0]["core_cycles"]
    assert cycles.gains == (0, 1)
    assert rows["KV cache stored"].values == tuple(s["kv"]["bytes_stored"] for s in summaries)


def test_better_is_what_the_figure_says():
    assert Row("rate", "tokens/s", 1, (10.0, 20.0, 5.0)).gains == (0, 1, -1)
    assert Row("time", "s", -1, (10.0, 20.0, 5.0)).gains == (0, -1, 1)
    assert Row("share", "%", 0, (10.0, 20.0, 5.0)).gains == (0, 0, 0)
    assert Row("nothing", "s", -1, (0.0, 20.0)).ratios == (None, None)


def test_plain_text_is_one_aligned_line_a_figure(summaries):
    rows = compare(summaries)
    lines = text(rows, [title(s) for s in summaries]).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({len(line) for line in lines}) == 1
    assert "skipgpt made-up [8, 4] on tiny" in lines[0]


def test_a_terminal_shows_the_same_figures(summaries):
    from rich.console import Console

    rows = compare(summaries)
    stream = io.StringIO()
    Console(file=stream, width=200).print(table(rows, ["dense [x]", "this"]))
    shown = stream.getvalue()
    assert "dense [x]" in shown  # brackets are no markup
    for row in rows:
        assert re.search(re.escape(row.label) + r" .*" + re.escape(row.shown[1]), shown)


@given(st.floats(1e-9, 1e14))
def test_four_digits_are_kept(value):
    assert float(number(value).replace(",", "")) == pytest.approx(value, rel=6e-3 if value < 1 else 6e-4)


@given(st.floats(1e-9, 1e14), st.sampled_from(["s", "B", "B/s", "MAC"]))
def test_a_prefix_changes_the_unit_and_not_the_value(value, unit):
    factor, shown = scale([value], unit)
    prefix = {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9}
    assert prefix[shown.removesuffix(unit)] == factor
    assert value / factor < 1000 or factor == 1e12


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0153612, "s", "15.36 ms"),
        (9_728, "B", "9.728 kB"),
        (12, "B", "12 B"),
        (4.087e11, "B/s", "408.7 GB/s"),
        (0.8101, "%", "81.01 %"),
        (91_929_529, "cycles", "91,929,529 cycles"),
        (0.0, "s", "0 s"),
        (143.4, "tokens/s", "143.4 tokens/s"),
    ],
)
def test_quantities_read_well(value, unit, shown):
    assert quantity(value, unit) == shown


def test_ratios_read_well():
    assert [times(r) for r in (1.0, 0.724, 12.34, None)] == ["1.00×", "0.72×", "12.3×", "–"]
