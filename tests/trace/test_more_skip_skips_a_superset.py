"""With one seed, a larger skip rate skips every row that a smaller one skips, whatever the other knobs."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_traces import shape

from skipopu.trace import Trace, synthesize
from skipopu.trace.field import uniform_layers
from skipopu.trace.rates import layer_rates, row_rates

SKIPS = st.lists(st.floats(0, 1), min_size=2, max_size=4, unique=True).map(sorted)
PROFILES = st.lists(st.floats(0.01, 5), min_size=1, max_size=4)
FAMILIES = st.sampled_from(["skipgpt", "skipgpt30", "bernoulli", "dllm50", "grouped"])


def make(family: str, **knobs: Any) -> Trace:
    if family == "grouped":
        family, knobs = "wide50", knobs | {"ffn_group_size": 24}
    return synthesize(family, shape(8), prompt=20, decode=10, **knobs)


@settings(max_examples=60)
@given(
    family=FAMILIES,
    skips=SKIPS,
    seed=st.integers(0, 2**63 - 1),
    rho=st.floats(0, 1),
    run=st.floats(0, 0.999),
    slope=st.floats(-1, 1),
    profile=PROFILES,
)
def test_rows_nest(
    family: str, skips: list[float], seed: int, rho: float, run: float, slope: float, profile: list[float]
) -> None:
    shared = {
        f"{module}_{name}": v
        for module in ("attention", "ffn")
        for name, v in (("slope", slope), ("profile", profile))
    }
    knobs = {"seed": seed, "rho": rho, "token_persistence": run} | shared
    made = [make(family, skip=skip, **knobs) for skip in skips]
    for less, more in pairwise(made):
        for name in ("rows_q", "rows_kv", "rows_ffn", "head_groups", "ffn_groups"):
            if name in less.arrays:
                assert not np.any(~less.array(name) & more.array(name)), name


@settings(max_examples=100)
@given(
    skips=SKIPS, profile=PROFILES, slope=st.floats(-1, 1), tokens=st.integers(1, 9), layers=st.integers(0, 9)
)
def test_rates_rise_everywhere_and_keep_their_mean(
    skips: list[float], profile: list[float], slope: float, tokens: int, layers: int
) -> None:
    rates = [row_rates("ffn", skip, tuple(profile), slope, layers, tokens) for skip in skips]
    for skip, rate in zip(skips, rates, strict=True):
        assert rate.shape == (layers, tokens)
        assert np.all((rate >= 0) & (rate <= 1))
        if rate.size:
            assert rate.mean() == pytest.approx(skip, abs=1e-9)
    for less, more in pairwise(rates):
        assert np.all(more >= less - 1e-12)


@given(skip=st.floats(0, 0.99), profile=PROFILES)
def test_layers_that_do_not_saturate_keep_the_profile(skip: float, profile: list[float]) -> None:
    layers = 7
    rates = layer_rates("ffn", skip, tuple(profile), layers)
    weights = np.interp(np.linspace(0, 1, layers), np.linspace(0, 1, len(profile)), profile)
    free = rates < 1
    factor = rates[free] / weights[free]
    assert np.allclose(factor, factor[0], rtol=1e-6)
    assert np.all(weights[~free] * factor[0] >= 1 - 1e-6)


@pytest.mark.parametrize("skip", [0.0, 1.0])
def test_the_ends_are_exact(skip: float) -> None:
    made = make("skipgpt", skip=skip, rho=0.5)
    assert np.all(made.rows("q")[1:] == (skip == 0))
    assert np.all(made.rows("ffn") == (skip == 0))
    assert made.rows("q")[0].all()


def test_the_field_does_not_depend_on_what_it_decides() -> None:
    fields = [list(uniform_layers((5,), n, 6, 1, rho=0.3, token_persistence=0.2)) for n in (3, 5)]
    np.testing.assert_array_equal(fields[0], fields[1][:3])
