"""Streaming families at a small shape: tokens add up, arrivals follow their rates, seeds repeat, costs are known."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_traces import shape

from skipopu.trace import EventKind, StepPhase, Trace, keys_per_query
from skipopu.trace.families import wait_k
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.lagging import finish_times, lags, words

FAMILIES = ("wait_k", "decision_head", "streaming_thinker", "tays")
READ, WRITE = StepPhase.READ, StepPhase.WRITE


def made(name: str, prompt: int = 40, decode: int = 60, seed: int = 0, **knobs: Any) -> Trace:
    return generate(name, shape(2), prompt, decode, None, seed, [f"{key}={value}" for key, value in knobs.items()])


def tokens_of(trace: Trace, *types: str) -> int:
    return sum(segment.count for segment in trace.header.segments if segment.type in types)


def pops(trace: Trace) -> int:
    return sum(event.rows for event in trace.events if event.kind is EventKind.KV_POP)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(FAMILIES), st.integers(1, 50), st.integers(0, 60), st.integers(0, 2**63 - 1))
def test_every_token_asked_for_is_read_and_written(name: str, prompt: int, decode: int, seed: int) -> None:
    trace = made(name, prompt, decode, seed)
    assert tokens_of(trace, "query" if name == "tays" else "source") == prompt
    written = trace.steps.token_count[trace.steps.phase == WRITE]
    connector = int(written.max(initial=1)) - 1
    assert written.sum() == decode + pops(trace) + connector
    assert trace == made(name, prompt, decode, seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_another_seed_is_another_trace(name: str) -> None:
    assert made(name, seed=1) != made(name, seed=2)


@pytest.mark.parametrize("name", FAMILIES)
def test_reads_see_the_source_only_and_writes_see_both(name: str) -> None:
    trace = made(name)
    keys, source, target = keys_per_query(trace), 0, 0
    gone = {event.step: event.rows for event in trace.events if event.kind is EventKind.KV_POP}
    columns = (trace.steps.phase, trace.steps.first_token, trace.steps.token_count)
    for step, (phase, first, count) in enumerate(zip(*columns, strict=True)):
        target -= gone.get(step, 0)
        before = source if phase == READ else source + target
        assert keys[0, first : first + count].tolist() == list(range(before + 1, before + count + 1))
        source, target = (source + count, target) if phase == READ else (source, target + count)


def test_words_arrive_at_their_rate() -> None:
    trace = made("wait_k", k=3, words_per_second=2.0, tokens_per_word=1.0, instruct_tokens=0)
    reads = trace.steps.phase == READ
    assert trace.steps.arrival_seconds[reads].tolist() == [1.5 + 0.5 * i for i in range(38)]
    assert trace.steps.token_count[reads].tolist() == [3] + [1] * 37


def test_the_first_word_waits_for_k_words_and_lags_by_them() -> None:
    for k in (1, 5):
        trace = made("wait_k", 40, 40, k=k, tokens_per_word=1.0, words_per_second=4.0)
        found = lags(trace, finish_times(trace.steps, np.zeros(len(trace.steps))))
        assert [word.read for word in words(trace)] == [min(k + i, 40) for i in range(40)]
        assert (found.al_words, found.first_word_seconds) == (pytest.approx(k), pytest.approx(k / 4))


def test_a_word_costs_about_one_pass_more_as_in_the_public_code() -> None:
    """Published (code): about one extra decode step a target word while source remains; none where words close."""
    trace = made("wait_k", 300, 200, tokens_per_word=1.0, punctuation=0.0)
    interrupted = [word for word in words(trace) if word.read < 300]
    assert pops(trace) == len(interrupted) - 1  # the last word ends the target
    assert pops(made("wait_k", 300, 200, tokens_per_word=1.0, punctuation=1.0)) == 0


def test_nothing_is_pruned_but_small_prefills_read_the_weights_again() -> None:
    """Golden: projections of a streamed and of a batch source are equal in MACs; passes over the weights are not."""
    batch = made("wait_k", 40, 30, k=100000, tokens_per_word=1.0, instruct_tokens=0)
    stream = made("wait_k", 40, 30, k=1, tokens_per_word=1.0, instruct_tokens=0, punctuation=1.0)
    products = ("q", "k", "v", "o", "gate", "up", "down")
    names = {product.name for product in gemms(batch)}
    assert total_macs(gemms(stream), *(names & {*products})) == total_macs(gemms(batch), *(names & {*products}))
    passes = [int((trace.steps.phase == READ).sum()) for trace in (batch, stream)]
    assert passes == [1, 40]


def test_reads_of_a_thinker_do_not_wait_for_thoughts() -> None:
    trace = made("streaming_thinker", 100, 100)
    took = np.where(trace.steps.phase == READ, 0.1, 0.2)
    one, both = (finish_times(trace.steps, took, overlapped=each) for each in (False, True))
    reads = trace.steps.phase == READ
    assert (both <= one + 1e-12).all()
    arrival = trace.steps.arrival_seconds[reads]
    assert both[reads].max() <= arrival.max() + 0.1 * reads.sum()
    assert one[reads].mean() > both[reads].mean() + 1


def test_frames_arrive_in_groups_and_sentences_follow() -> None:
    knobs = {"groups": 4, "frames_per_group": 2, "tokens_per_frame": 3, "frames_per_second": 2.0, "system_tokens": 7}
    trace = made("tays", 5, 64, **knobs)
    reads = trace.steps.phase == READ
    assert trace.steps.token_count[reads].tolist() == [7 + 5 + 6, 6, 6, 6]
    assert trace.steps.arrival_seconds[reads].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert [word.read for word in words(trace)] == [1, 2, 3, 4]


def test_decisions_to_write_come_at_their_rate() -> None:
    trace = made("decision_head", 700, 690, act_rate=0.4, tokens_per_word=1.0)
    outcomes = [event.outcome for event in trace.events if event.kind is EventKind.DECISION_OP]
    assert len(outcomes) == 699
    assert np.mean(outcomes) == pytest.approx(0.4, abs=0.05)
    heads = sum(product.m for product in gemms(trace) if product.name == "lm_head")
    assert heads == int((trace.steps.phase == WRITE).sum()) - outcomes.count(0)
    assert total_macs(gemms(trace), "decision") == 699 * 2 * trace.header.shape.dimensions.hidden_size


def test_sentences_skipped_are_read_without_a_thought() -> None:
    trace = made("streaming_thinker", 200, 50, skip_share=1.0, connector_tokens=4)
    assert tokens_of(trace, "target") == 50 + 4
    writes = trace.steps.token_count[trace.steps.phase == WRITE].tolist()
    assert writes == [5] + [1] * 49


def test_word_lengths_have_their_mean() -> None:
    drawn = wait_k.draw(20000, 20000, 3, 1.3, 0.1)
    for lengths in (drawn.source, drawn.target):
        assert (min(lengths), sum(lengths)) == (1, 20000)
        assert np.mean(lengths) == pytest.approx(1.3, abs=0.02)
    assert np.mean(drawn.closed) == pytest.approx(0.1, abs=0.01)
    assert drawn.closed[-1]
