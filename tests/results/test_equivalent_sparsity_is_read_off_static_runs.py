"""Which share of whole layers a run is worth, between runs of models that lack a share of their layers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipopu.results.equivalent_sparsity import equivalents


def a_run(family, share, prefill, decode, decoded=8):
    """A summary as far as it counts here: seconds of both phases, share of modules skipped."""
    return {
        "trace": {"family": family}, "skip": {"module": share}, "prefill": {"tokens": 64, "seconds": prefill},
        "decode": {"tokens": decoded, "seconds": decode},
    }  # fmt: skip


def read(*summaries):
    return {phase: pytest.approx(values) for phase, values in equivalents(summaries)}


def test_a_run_stands_on_the_line_between_its_neighbours():
    """By hand: 8 s dense, 6 s without a quarter, 5 s without a half; 5.5 s is half way from the first to the second."""
    runs = [a_run("dense", 0, 8, 8), a_run("static", 0.25, 6, 6), a_run("static", 0.5, 5, 5)]
    found = read(*runs, a_run("dynamic_m", 0.5, 5.5, 7), a_run("dynamic_m", 0.25, 4.5, 9))
    assert found["prefill"] == [0, 0.25, 0.5, 0.375, 0.625]
    assert found["decode"] == [0, 0.25, 0.5, 0.125, -0.125]  # slower than dense: less than nothing


@given(
    st.lists(st.floats(0.01, 0.9), min_size=1, max_size=5, unique=True), st.floats(0.01, 0.99), st.floats(1e-6, 1e3),
    st.floats(0, 1e3),
)  # fmt: skip
def test_where_time_is_a_line_the_share_is_exact_whatever_was_run(shares, wanted, per_layer, rest):
    def at(share, family):
        time = rest + per_layer * (1 - share)
        return a_run(family, share, time, time)

    runs = [at(0, "dense"), *(at(share, "static") for share in shares)]
    asked = at(wanted, "dynamic_m")
    asked["skip"]["module"] = 0.123  # what a router says is not what it is worth
    for values in dict(equivalents([*runs, asked])).values():
        assert values[-1] == pytest.approx(wanted, abs=1e-6)


def test_decode_is_compared_token_by_token():
    runs = [a_run("dense", 0, 8, 8), a_run("static", 0.5, 4, 4), a_run("dynamic_m", 0.5, 6, 12, decoded=16)]
    assert read(*runs)["decode"] == [0, 0.5, 0.25]


def test_nothing_is_said_without_a_reference_or_without_tokens():
    dense, static, dynamic = a_run("dense", 0, 8, 8), a_run("static", 0.5, 4, 4), a_run("dynamic_m", 0.5, 6, 6)
    narrower = a_run("static", 0, 4, 4)  # cut in width: skips no module
    assert read(dense, dynamic) == read(static, dynamic) == read(dense, narrower, dynamic) == {}
    assert set(read(dense, static, a_run("dynamic_m", 0.5, 6, 0, decoded=0))) == {"prefill"}
    undecoded = [a_run(family, share, 8 - 8 * share, 0, decoded=0) for family, share in (("dense", 0), ("static", 0.5))]
    assert set(read(*undecoded)) == {"prefill"}
