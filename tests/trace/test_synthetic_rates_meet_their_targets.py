"""Achieved rates lie within statistical bounds of the knobs, over the rows that are routed."""

from math import sqrt

import numpy as np
import pytest
from small_traces import shape

from skipopu.trace import Trace, dense_like, presets, synthesize
from skipopu.trace.knobs import preset

LAYERS, TOKENS = 24, 3000
SIGMAS = 5


def make(family: str = "skipgpt", **knobs: object) -> Trace:
    return synthesize(family, shape(LAYERS), prompt=TOKENS - 40, decode=40, **knobs)  # type: ignore[arg-type]


def bound(rate: float, *, rho: float = 0.0, run: float = 0.0, rows: int = LAYERS * TOKENS) -> float:
    """Five standard errors of a mean of ``rows`` correlated decisions."""
    wider = (1 + rho) / (1 - rho) * (1 + run) / (1 - run)
    return SIGMAS * sqrt(rate * (1 - rate) * wider / rows)


@pytest.mark.parametrize("attention", [0.05, 0.5, 0.9])
@pytest.mark.parametrize(("rho", "run"), [(0.0, 0.0), (0.7, 0.0), (0.5, 0.6)])
def test_attention_and_ffn_have_their_own_rates(attention: float, rho: float, run: float) -> None:
    trace = make(attention_skip=attention, ffn_skip=0.3, rho=rho, token_persistence=run, seed=4)
    summary = trace.summary()
    assert summary["attention_skip_routed"] == pytest.approx(
        attention, abs=bound(attention, rho=rho, run=run)
    )
    assert summary["ffn_skip_routed"] == pytest.approx(0.3, abs=bound(0.3, rho=rho, run=run))
    # layer 0 always executes attention, so that the rate over all rows is lower
    assert summary["attention_skip"] == pytest.approx(
        summary["attention_skip_routed"] * (LAYERS - 1) / LAYERS
    )


@pytest.mark.parametrize("family", [p for p in presets() if p != "dense"])
@pytest.mark.parametrize("skip", [None, 0.2, 0.4])
def test_a_preset_meets_its_rates(family: str, skip: float | None) -> None:
    extra = {"ffn_group_size": 24} if family == "wide50" else {}
    summary = make(family, skip=skip, **extra).summary()
    wanted = preset(family)[1]
    rates = (wanted["attention_skip"], wanted["ffn_skip"])
    scale = 1.0 if skip is None else skip / (sum(rates) / 2)
    for module, rate in zip(("attention", "ffn"), rates, strict=True):
        assert summary[f"{module}_skip_routed"] == pytest.approx(rate * scale, abs=bound(rate * scale))


@pytest.mark.parametrize("given", [{}, {"attention_skip": 0.5}, {"ffn_skip": 0.1}])
def test_skip_is_the_mean_of_both(given: dict[str, float]) -> None:
    knobs = make("skipgpt30", skip=0.3, **given).header.provenance.knobs
    assert (knobs["attention_skip"] + knobs["ffn_skip"]) / 2 == pytest.approx(0.3)
    for name, value in given.items():
        assert knobs[name] == value
    if not given:
        assert knobs["attention_skip"] / knobs["ffn_skip"] == pytest.approx(33.19 / 26.33)


@pytest.mark.parametrize(("skip", "rates"), [(0.9, (1.0, 0.8)), (1.0, (1.0, 1.0)), (0.0, (0.0, 0.0))])
def test_a_module_that_saturates_leaves_the_rest_to_the_other(
    skip: float, rates: tuple[float, float]
) -> None:
    knobs = make("skipgpt30", skip=skip).header.provenance.knobs
    assert (knobs["attention_skip"], knobs["ffn_skip"]) == pytest.approx(rates)


@pytest.mark.parametrize(
    ("slope", "first", "last"), [(0.25, 0.625, 0.375), (-0.2, 0.4, 0.6), (1.0, 1.0, 0.0)]
)
def test_the_slope_is_what_execution_gains_along_the_context(slope: float, first: float, last: float) -> None:
    rows = make(ffn_skip=0.5, ffn_slope=slope, seed=2).rows("ffn")
    tenth = TOKENS // 10
    gain = (last - first) / 20  # the mean of the first tenth lies a twentieth along the line
    near = bound(0.5, rows=LAYERS * tenth)
    assert 1 - rows[:, :tenth].mean() == pytest.approx(first + gain, abs=near)
    assert 1 - rows[:, -tenth:].mean() == pytest.approx(last - gain, abs=near)


def test_the_profile_shapes_the_rates_along_depth() -> None:
    rows = make(ffn_skip=0.3, ffn_profile=[0.0, 1.0], seed=3).rows("ffn")
    wanted = 0.6 * np.arange(LAYERS) / (LAYERS - 1)
    assert rows[0].all()
    for layer, rate in enumerate(wanted):
        assert 1 - rows[layer].mean() == pytest.approx(rate, abs=bound(0.5, rows=TOKENS))


def test_always_on_rows_run() -> None:
    trace = make(skip=0.9, always_on_attention=(0, 5), always_on_ffn=(7,), always_on_tokens=3)
    assert trace.rows("q")[[0, 5]].all()
    assert trace.rows("ffn")[7].all()
    assert trace.rows("q")[:, :3].all()
    assert trace.rows("ffn")[:, :3].all()
    assert trace.summary()["attention_skip_routed"] == pytest.approx(0.9, abs=bound(0.9))


@pytest.mark.parametrize(("policy", "kv"), [("dense", "all"), ("reuse_last", "q"), ("evict", "q")])
def test_the_policy_says_whose_kv_is_projected(policy: str, kv: str) -> None:
    trace = make(kv_policy=policy)
    wanted = trace.rows("q") if kv == "q" else np.ones_like(trace.rows("q"))
    np.testing.assert_array_equal(trace.rows("kv"), wanted)


def test_one_decision_serves_both_modules_where_shared() -> None:
    trace = make("dllm50")
    np.testing.assert_array_equal(trace.rows("q"), trace.rows("ffn"))
    assert trace.rows("q")[:2].all()
    assert trace.rows("q")[:, :2].all()


def test_modules_decide_independently_otherwise() -> None:
    trace = make(ffn_skip=0.5, attention_skip=0.5)
    both = np.corrcoef(trace.rows("q")[1:].ravel(), trace.rows("ffn")[1:].ravel())[0, 1]
    assert abs(both) < SIGMAS / sqrt(LAYERS * TOKENS)


@pytest.mark.parametrize("family", ["skipgpt", "wide50", "dllm50", "dense"])
def test_the_dense_twin_runs_everything_over_the_same_steps(family: str) -> None:
    trace = synthesize(family, "qwen3-1.7b", prompt=7, decode=4)
    twin = dense_like(trace)
    assert (twin.header.family, twin.header.kv_policy, twin.header.router.kind) == ("dense", "dense", "none")
    assert all(twin.rows(kind).all() for kind in ("q", "kv", "ffn"))
    for name, column in trace.steps.columns().items():
        np.testing.assert_array_equal(twin.steps.columns()[name], column)
    assert twin.header.segments == trace.header.segments
    assert twin.summary()["mac_skip"] == 0
    assert dense_like(twin).rows("q").all()


def test_steps_are_a_prefill_and_then_single_tokens() -> None:
    steps = synthesize("skipgpt", "qwen3-1.7b", prompt=7, decode=3).steps
    assert steps.phase.tolist() == [1, 4, 4, 4]
    assert steps.first_token.tolist() == [0, 7, 8, 9]
    assert steps.token_count.tolist() == [7, 1, 1, 1]
    assert [steps.dependencies(step).tolist() for step in range(4)] == [[], [0], [1], [2]]
    assert steps.of_token().tolist() == [0] * 7 + [1, 2, 3]
    assert steps.decoding().tolist() == [False, True, True, True]
