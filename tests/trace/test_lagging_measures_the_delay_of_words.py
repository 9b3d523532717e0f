"""Average lagging of policies and clocks whose lag is known, and the steps that finish each word."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_traces import plain, shape

from skipopu.spec.error import SpecError
from skipopu.trace import Provenance, StepPhase, Steps, Trace
from skipopu.trace.families import wait_k
from skipopu.trace.lagging import average_lagging, finish_times, lags, words

COUNT = st.integers(1, 12)


def streamed(k: int, source: int, target: int, rate: float = 1.0, closed: bool = True, length: int = 1) -> Trace:
    """Words of ``length`` tokens."""
    drawn = wait_k.Words((1,) * source, (length,) * target, (closed,) * (target - 1) + (True,))
    knobs = wait_k.Knobs(k, 0, 0, 1.0, 0.0, rate)
    return wait_k.schedule(drawn, knobs).trace("wait_k", shape(2), Provenance("synthetic", source="a test"))


@given(COUNT, COUNT)
def test_wait_k_lags_k_words_where_source_and_target_are_as_long(k: int, both: int) -> None:
    trace = streamed(k, both, both)
    found = lags(trace, finish_times(trace.steps, np.zeros(len(trace.steps))))
    assert found.al_words == found.laal_words == pytest.approx(min(k, both))


@given(st.lists(st.floats(0, 50), min_size=1, max_size=8), st.integers(1, 9), st.integers(1, 9))
def test_the_sum_is_that_of_the_definition(delays: list[float], source: int, target: int) -> None:
    total = 0.0
    for t in range(1, len(delays) + 1):
        total += delays[t - 1] - (t - 1) * source / target
        if delays[t - 1] >= source:
            break
    assert average_lagging(delays, source, target) == pytest.approx(total / t, abs=1e-9)


@given(COUNT, COUNT, COUNT, st.floats(0.1, 10))
def test_seconds_on_a_machine_without_delay_are_words_over_their_rate(k: int, x: int, y: int, rate: float) -> None:
    trace = streamed(k, x, y, rate)
    found = lags(trace, finish_times(trace.steps, np.zeros(len(trace.steps))))
    last = min(x, k + y - 1)  # the source may outlast the target
    scale = 1 / rate
    if last == x:
        assert found.al_seconds == pytest.approx(found.al_words * scale)
    assert found.first_word_seconds == pytest.approx(min(k, x) * scale)
    assert found.first_word_wait_seconds == pytest.approx(0)


@given(COUNT, COUNT, COUNT, st.floats(0.001, 0.5))
def test_a_slower_machine_lags_more_in_seconds_and_not_in_words(k: int, x: int, y: int, seconds: float) -> None:
    trace = streamed(k, x, y)
    fast, slow = (
        lags(trace, finish_times(trace.steps, np.full(len(trace.steps), s))) for s in (seconds, 2 * seconds)
    )
    assert fast.al_words == slow.al_words
    assert slow.al_seconds > fast.al_seconds >= seconds
    assert fast.first_word_wait_seconds == pytest.approx(2 * seconds)  # one read, one write


def test_a_long_target_earns_a_negative_lag_in_al_and_none_in_laal() -> None:
    trace = streamed(1, 10, 40)
    found = lags(trace, finish_times(trace.steps, np.zeros(len(trace.steps))), reference=5)
    assert found.al_words < 0 < found.laal_words
    same = average_lagging([word.read for word in words(trace)], 10, 40, 10)
    assert found.laal_words == same == pytest.approx(1 + 4.5 * 0.75)


def test_a_word_is_done_when_its_end_is_known() -> None:
    """2 source words, k = 1: word 1 of 2 tokens takes a third pass, whose token is dropped; word 2 is the last."""
    trace = streamed(1, 2, 2, closed=False, length=2)
    phases = [StepPhase(p).name for p in trace.steps.phase]
    assert phases == ["READ", "WRITE", "WRITE", "WRITE", "READ", "WRITE", "WRITE"]
    first, second = words(trace)
    assert (first.first_step, first.last_step, first.read) == (1, 3, 1)
    assert (second.first_step, second.last_step, second.read) == (5, 6, 2)
    finish = finish_times(trace.steps, np.asarray([0.1, 0.2, 0.2, 0.2, 0.1, 0.3, 0.3]))
    assert finish.tolist() == pytest.approx([1.1, 1.3, 1.5, 1.7, 2.1, 2.4, 2.7])
    found = lags(trace, finish)
    assert found.first_word_seconds == pytest.approx(1.7)
    assert found.al_seconds == pytest.approx(((1.7 - 0) + (2.7 - 2 / 2)) / 2)


def test_streams_that_do_not_wait_for_one_another_overlap() -> None:
    steps = Steps.of([3, 4, 3, 4], [1] * 4, after=[[], [0], [0], [1, 2]])
    took = [1.0, 5.0, 2.0, 1.0]
    assert finish_times(steps, took).tolist() == [1, 6, 8, 9]
    assert finish_times(steps, took, overlapped=True).tolist() == [1, 6, 3, 7]


def test_bad_input_is_refused() -> None:
    trace = streamed(1, 2, 2)
    with pytest.raises(SpecError, match=r"finish times of shape \[1\]; expected one for each of 4 steps"):
        lags(trace, [1.0])
    with pytest.raises(SpecError, match=r"step 0 is finished at 0 s; its input arrives at 1 s"):
        lags(trace, [0.0] * 4)
    with pytest.raises(SpecError, match=r"durations of shape \[2\]; expected 4 of at least 0 s"):
        finish_times(trace.steps, [1.0, 1.0])
    with pytest.raises(SpecError, match="no target segments after source ones"):
        words(plain([3], segments=()))
    with pytest.raises(SpecError, match="0 delays"):
        average_lagging([], 3, 3)
