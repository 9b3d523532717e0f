"""Generators of Mixture-of-Depths, LFF and Routing-Free MoE do what their knobs say, reproducibly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_traces import shape

from skipopu.spec.error import SpecError
from skipopu.trace import Trace, keys_per_query
from skipopu.trace.family import family, generate

OWN = ("mod", "lff", "routing_free_moe", "static")


@pytest.mark.parametrize("name", OWN)
def test_the_same_seed_makes_the_same_trace(name: str) -> None:
    def make(seed: int) -> Trace:
        return generate(name, prompt=24, decode=8, seed=seed)

    assert make(3) == make(3)
    assert make(3) != make(4)
    assert make(3).header.provenance.seed == 3
    assert make(3).header.shape.name == family(name).shape


@given(st.integers(1, 200), st.integers(0, 20), st.integers(0, 99), st.sampled_from([0.125, 0.3, 1.0]))
def test_a_routed_block_takes_exactly_its_capacity_of_the_prompt(
    prompt: int, decode: int, seed: int, capacity: float
) -> None:
    trace = generate("mod", "llama3.2-3b", prompt, decode, seed=seed, knobs=[f"capacity={capacity}"])
    taken = trace.rows("q")[:, :prompt].sum(axis=1)
    assert set(taken[0::2]) == {prompt}
    assert set(taken[1::2]) == {max(1, int(capacity * prompt))}
    assert trace.rows("kv").tolist() == trace.rows("ffn").tolist() == trace.rows("q").tolist()


def test_decoded_tokens_run_at_the_capacity_on_average() -> None:
    rows = generate("mod", prompt=8, decode=4000).rows("q")[1::2, 8:]
    assert rows.mean() == pytest.approx(0.125, abs=5 * (0.125 * 0.875 / rows.size) ** 0.5)


def test_one_block_in_four_is_routed_where_asked() -> None:
    trace = generate("mod", prompt=64, decode=0, knobs=["every=4"])
    assert [i for i, row in enumerate(trace.rows("q")) if not row.all()] == list(range(3, 32, 4))


def test_a_skipped_token_is_no_key_in_its_block() -> None:
    trace = generate("mod", prompt=64, decode=0)
    assert keys_per_query(trace)[1].max() == 8


def lff(*knobs: str) -> Trace:
    return generate("lff", "llama2-7b", 100, 100, knobs=knobs)


def test_rows_run_or_are_approximated_and_keys_are_everyones() -> None:
    trace = lff("attention_skip=0.4", "ffn_skip=0.2")
    approximated = trace.array("approx_rows")
    assert approximated is not None
    np.testing.assert_array_equal(approximated[0], ~trace.rows("q"))
    np.testing.assert_array_equal(approximated[1], ~trace.rows("ffn"))
    assert trace.rows("kv").all()
    assert approximated.mean(axis=(1, 2)) == pytest.approx([0.4, 0.2], abs=0.03)


def test_a_larger_skip_skips_a_superset() -> None:
    less, more = lff("attention_skip=0.2").rows("q"), lff("attention_skip=0.5").rows("q")
    assert (more <= less).all()


def test_dropped_rows_run_nothing() -> None:
    trace = lff("drop=0.5")
    approximated = trace.array("approx_rows")
    assert approximated is not None
    skipped = ~np.stack([trace.rows("q"), trace.rows("ffn")])
    assert (approximated <= skipped).all()
    assert approximated.sum() / skipped.sum() == pytest.approx(0.5, abs=0.03)


def test_a_shape_too_narrow_for_the_published_router_is_refused() -> None:
    with pytest.raises(SpecError, match=r"hidden_size = 32: LFF's router, D/4 − 200, has no width; at least 804"):
        generate("lff", shape(), 4, 0)


def test_experts_are_on_at_the_density_and_tokens_may_have_none() -> None:
    trace = generate("routing_free_moe", prompt=500, decode=0)
    bits = trace.array("experts")
    assert bits is not None
    assert not bits[0].any()
    assert bits[1:].mean() == pytest.approx(0.1, abs=5 * (0.09 / bits[1:].size) ** 0.5)
    none = (bits[1:].sum(axis=2) == 0).mean()
    assert none == pytest.approx(0.9**12, abs=0.02)
    assert trace.rows("ffn").all()


@pytest.mark.parametrize(
    ("name", "knob", "message"),
    [
        ("mod", "capacity=2", r"knob capacity = 2; must be in 0\.001\.\.1 share; nearest: 1"),
        ("lff", "drop=-1", r"knob drop = -1; must be in 0\.\.1 share; nearest: 0"),
        ("routing_free_moe", "densty=0.2", "knob 'densty' is not known; did you mean 'density'"),
    ],
)
def test_bad_knobs_name_the_nearest_valid(name: str, knob: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        generate(name, prompt=4, decode=0, knobs=[knob])
