"""Length samplers meet their means, termination keeps the published share, rollouts share their prompt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_traces import shape

from skipopu.spec.error import SpecError
from skipopu.trace import EventKind, Provenance, Trace, keys_per_query
from skipopu.trace.families import rollouts
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.lagging import finish_times
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.stream_lengths import generator
from skipopu.trace.workloads.generation_lengths import (
    all_correct,
    draw,
    expected,
    hazard_for,
    log_normal,
    terminated,
)
from skipopu.trace.workloads.published import method, methods

COUNT, MEAN, SPREAD, MOST = 40000, 400.0, 0.6, 10**6


def family(name: str, prompt: int, decode: int, *knobs: str, seed: int = 0) -> Trace:
    return generate(name, shape(2), prompt, decode, None, seed, knobs)


def built(prompt: int, lengths: list[int], cached: bool) -> Trace:
    source = Provenance("synthetic", source="a test")
    return rollouts.rollouts(shape(2), prompt, np.asarray(lengths), cached, source)


@pytest.mark.parametrize("work", methods())
def test_tokens_are_cut_as_published(work: str) -> None:
    """Published: On-Policy SFT 10.2 k → 2.2 k tokens (a figure), KAT −59.73 % of the mean rollout length."""
    kept = draw(work, COUNT, MEAN, SPREAD, 1, MOST).mean() / MEAN
    published = {"base": 1.0, "on_policy_sft": 2.2 / 10.2, "kat": 1 - 0.5973}
    assert kept == pytest.approx(published[work], rel=0.02)
    assert method(work).kept_share == pytest.approx(published[work], abs=1e-4)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_the_mean_does_not_depend_on_the_spread(spread: float) -> None:
    lengths = log_normal(generator(0), COUNT, MEAN, spread, MOST)
    assert lengths.mean() == pytest.approx(MEAN, rel=0.02)
    assert np.std(np.log(lengths)) == pytest.approx(spread, abs=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.floats(0.001, 0.9), st.integers(0, 40))
def test_expected_lengths_are_sums_of_survival(length: int, hazard: float, grace: int) -> None:
    survival = sum((1 - hazard) ** max(0, t - grace) for t in range(length))
    assert expected(np.asarray([length]), hazard, grace)[0] == pytest.approx(survival)


def test_termination_leaves_the_grace_and_never_lengthens() -> None:
    whole = log_normal(generator(0), 1000, 50.0, 0.5, 400)
    cut = terminated(generator(1), whole, 0.2, 10)
    assert (cut <= whole).all()
    assert (cut >= np.minimum(whole, 11)).all()
    assert (terminated(generator(1), whole, 0.0, 10) == whole).all()


def test_a_grace_longer_than_the_share_ends_rollouts_at_once() -> None:
    assert hazard_for(0.1, 100.0, 0.0, 1000, grace=50) == pytest.approx(1.0)


def test_groups_that_are_all_right_come_with_the_power_of_their_rate() -> None:
    rates = np.full(20000, 0.9)
    assert all_correct(generator(0), rates, 8).mean() == pytest.approx(0.9**8, abs=0.01)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(SpecError, match="method = 'ppo'; expected one of base, on_policy_sft, kat"):
        method("ppo")


@pytest.mark.parametrize("cached", [False, True])
def test_samples_read_the_prompt_and_themselves(cached: bool) -> None:
    trace = built(5, [3, 1, 2], cached)
    own = [6, 7, 8, 6, 6, 7]
    assert keys_per_query(trace)[1].tolist() == ([] if cached else [1, 2, 3, 4, 5]) + own
    assert trace.arrays["positions"].tolist() == ([] if cached else [0, 1, 2, 3, 4]) + [n - 1 for n in own]
    reused = [(event.step, event.rows) for event in trace.events if event.kind is EventKind.PREFIX_REUSE]
    assert reused == ([(0, 5), (3, 5), (4, 5)] if cached else [])


def test_samples_do_not_wait_for_one_another() -> None:
    trace = built(5, [3, 1, 2], cached=False)
    took = np.ones(len(trace.steps))
    assert finish_times(trace.steps, took).max() == 7
    assert finish_times(trace.steps, took, overlapped=True).max() == 1 + 3


def test_one_prefill_serves_all_samples() -> None:
    """Against samples that prefill for themselves: the difference is n − 1 prefills, head included."""
    together = total_macs(gemms(built(6, [4, 4, 4], cached=False)))
    alone = total_macs(gemms(built(6, [4], cached=False)))
    prefill = total_macs(gemms(built(6, [], cached=False)))
    assert 3 * alone - together == 2 * prefill > 0


def test_a_rollout_without_tokens_is_its_prompt() -> None:
    for knobs in ((), ("prompt_cached=true",)):
        assert family("rollouts", 7, 0, *knobs).tokens == 7


def test_latent_steps_have_no_head() -> None:
    trace = family("latent_reasoning", 6, 8, "latent_share=0.5")
    assert logit_rows(trace).tolist() == [0] * 4 + [1] * 5  # the prompt's state is the first thought
    assert trace.arrays["token_class"].tolist() == [0] * 6 + [1] * 4 + [0] * 4
    plain = family("latent_reasoning", 6, 8, "latent_share=0.0")
    d = trace.header.shape.dimensions
    assert total_macs(gemms(plain)) - total_macs(gemms(trace)) == 4 * d.vocabulary * d.hidden_size


@given(st.integers(1, 20), st.integers(0, 20))
@settings(max_examples=20, deadline=None)
def test_a_teacher_gives_each_completion_token_a_logit(prompt: int, decode: int) -> None:
    trace = family("teacher_scoring", prompt, decode)
    assert trace.tokens == prompt + max(0, decode - 1)
    assert logit_rows(trace).tolist() == [decode]


def test_seeds_repeat() -> None:
    assert family("rollouts", 5, 20, seed=3) == family("rollouts", 5, 20, seed=3)
    assert family("rollouts", 5, 20, seed=3) != family("rollouts", 5, 20, seed=4)
