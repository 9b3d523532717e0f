"""Lags of made-up clocks, worked out by hand; planted faults that the audit of streaming finds."""

import dataclasses

import numpy as np
import pytest

from skipopu.results.compare import compare
from skipopu.results.streaming import reading_and_writing, step_cycles, streaming, streams
from skipopu.results.streaming_audit import streaming_checks
from skipopu.results.summary import summary
from skipopu.spec.ledger import Cause, Phase
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Provenance, synthesize
from skipopu.trace.families import wait_k

HZ = 225e6  # of the tiny overlay
RATE = 131072.0  # words a second: 1716.61… cycles a word
WORD = HZ / RATE
ENDS = {  # the first cycle after each step: read, write, read, write, read, write; k = 2 reads two words at once
    1: (2000, 2500, 3600, 4000, 5500, 6100),
    2: (3500, 3700, 5200, 5400, 5600),
}


def streamed(k=1, words=3):
    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    shape = ModelShape.from_values(
        "small", "a test", layers=2, hidden_size=64, intermediate_size=128, attention_heads=2, kv_heads=2,
        head_dim=32, vocabulary=256, **flags,
    )  # fmt: skip
    drawn = wait_k.Words((1,) * words, (1,) * words, (True,) * words)
    planned = wait_k.schedule(drawn, wait_k.Knobs(k, 0, 0, 1.0, 0.0, RATE))
    return planned.trace("wait_k", shape, Provenance("synthetic", source="a test"))


@pytest.fixture(scope="module")
def timed(case, overlay):
    """Return a function that makes a run of a trace whose steps end as listed; engines idle in all its cycles."""

    def make(trace, ends):
        assert overlay.clock.core_mhz * 1e6 == HZ
        arrival = np.ceil(trace.steps.arrival_seconds * HZ).astype(int)
        begin = np.maximum(arrival, [0, *ends[:-1]])
        ledger = np.zeros_like(case.run.ledger)
        ledger[Phase.PREFILL, :, Cause.IDLE] = ends[-1]
        n = len(ends)
        zeros, last = np.zeros(n, int), np.array(ends) - 1
        retired = dataclasses.replace(
            case.run.retired, engine=zeros, opcode=zeros, step=np.arange(n), layer=zeros, issue=begin, first=begin,
            last=last,
        )  # fmt: skip
        return dataclasses.replace(
            case.run, core_cycles=int(ends[-1]), prefill_cycles=int(ends[-1]), ledger=ledger, step_end=last,
            retired=retired,
        )  # fmt: skip

    return make


def failed(run, trace, overlay):
    return [check.name for check in streaming_checks(run, trace, overlay) if not check.passed]


def test_a_word_a_read_lags_as_worked_out_by_hand(timed, overlay):
    trace = streamed(1)
    s = streaming(timed(trace, ENDS[1]), trace, overlay)
    assert (s["source_words"], s["target_words"], s["source_words_per_second"]) == (3, 3, pytest.approx(RATE))
    assert s["first_word"]["since_first_source_word"] == pytest.approx((2500 - WORD) / HZ)
    assert s["first_word"]["since_awaited_source_word"] == pytest.approx((2500 - WORD) / HZ)
    assert s["al_words"] == s["laal_words"] == 1
    lag = (2500 + (4000 - WORD) + (6100 - 2 * WORD)) / 3 / HZ
    assert s["al_seconds"] == s["laal_seconds"] == pytest.approx(lag)
    assert s["without_computation"]["al_seconds"] == pytest.approx(1 / RATE)
    late = 1717 + (3434 - 2500) + (5150 - 4000)
    assert (s["input_late_cycles"], s["input_late"]) == (late, late / 6100)


def test_words_read_together_came_one_after_the_other(timed, overlay):
    trace = streamed(2)
    s = streaming(timed(trace, ENDS[2]), trace, overlay)
    assert s["first_word"]["since_first_source_word"] == pytest.approx((3700 - WORD) / HZ)
    assert s["first_word"]["since_awaited_source_word"] == pytest.approx((3700 - 2 * WORD) / HZ)
    assert s["al_words"] == 2  # 2 − 0 and 3 − 1; the third word is written with the source read whole
    assert s["al_seconds"] == pytest.approx((3700 + 5400 - WORD) / 2 / HZ)
    assert s["input_late_cycles"] == 3434 + (5150 - 3700)


def test_reads_writes_and_late_input_share_the_cycles(timed, overlay):
    trace = streamed(1)
    run = timed(trace, ENDS[1])
    assert reading_and_writing(run, trace, overlay) == (283 + 166 + 350, 500 + 400 + 600)
    assert sum(reading_and_writing(run, trace, overlay)) + step_cycles(run, trace, overlay).late == 6100
    s = summary(run, trace, overlay, type("Board", (), {"name": "any"})())
    assert (s["prefill"]["core_cycles"], s["decode"]["core_cycles"]) == (799, 1500)
    assert s["decode"]["tokens_per_second"] == pytest.approx(3 * HZ / 1500)
    assert s["streaming"] == streaming(run, trace, overlay)


def test_a_true_clock_passes(timed, overlay):
    for k, ends in ENDS.items():
        trace = streamed(k)
        checks = list(streaming_checks(timed(trace, ends), trace, overlay))
        assert [check for check in checks if not check.passed] == []
        assert len(checks) == 8


def test_a_word_done_before_its_source_came_is_found(timed, overlay):
    trace = streamed(1)
    early = timed(trace, (2000, 2500, 2700, 3000, 5500, 6100))
    assert failed(early, trace, overlay) == ["streaming.done", "streaming.words"]


def test_a_step_begun_before_its_input_came_is_found(timed, overlay):
    trace = streamed(1)
    run = timed(trace, ENDS[1])
    issue = run.retired.issue.copy()
    issue[2] = 3433
    wrong = dataclasses.replace(run, retired=dataclasses.replace(run.retired, issue=issue))
    assert failed(wrong, trace, overlay) == ["streaming.begun"]


def test_an_engine_at_work_without_input_is_found(timed, overlay):
    trace = streamed(1)
    run = timed(trace, ENDS[1])
    for engine, found in ((6, ["streaming.late"]), (0, [])):  # the sequencer fetches ahead
        ledger = run.ledger.copy()
        ledger[Phase.PREFILL, engine, Cause.IDLE] = step_cycles(run, trace, overlay).late - 1
        assert failed(dataclasses.replace(run, ledger=ledger), trace, overlay) == found


def test_a_lag_under_that_of_the_arrivals_is_found(timed, overlay):
    """Writes that say nothing of their input are free to be early; the words and the lags are not."""
    trace = streamed(1)
    forgetful = np.where(trace.steps.decoding(), 0.0, trace.steps.arrival_seconds)
    steps = dataclasses.replace(trace.steps, arrival_seconds=forgetful)
    wrong = dataclasses.replace(trace, steps=steps)
    ends = (2000, 1000, 3600, 1100, 5500, 1200)
    names = failed(timed(wrong, ends), wrong, overlay)
    assert {"streaming.words", "streaming.first_word_seconds", "streaming.al_seconds"} <= set(names)


def test_missing_steps_are_left_to_the_checks_that_count_them(timed, overlay):
    trace = streamed(1)
    run = timed(trace, ENDS[1])
    assert list(streaming_checks(dataclasses.replace(run, step_end=run.step_end[:-1]), trace, overlay)) == []
    other = dataclasses.replace(run.retired, step=np.array([0, 1, 2, 3, 4, 4]))
    assert list(streaming_checks(dataclasses.replace(run, retired=other), trace, overlay)) == []


def test_other_traces_have_no_lags(case, timed, overlay):
    assert not streams(case.trace)
    assert not streams(synthesize("skipgpt", case.trace.header.shape, 4, 2))  # a target, but no source
    assert list(streaming_checks(case.run, case.trace, overlay)) == []
    plain = case.result().summary
    assert "streaming" not in plain
    trace = streamed(1)
    lagging = summary(timed(trace, ENDS[1]), trace, overlay, case.board)
    assert [len(compare(each)) for each in ([plain], [lagging, plain], [lagging, lagging])] == [19, 19, 29]
