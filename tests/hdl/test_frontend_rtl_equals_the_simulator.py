"""Sequencer, queues, semaphores and retirement in RTL do in every cycle what the simulator does."""

import dataclasses

import numpy as np
import pytest
from frontend_programs import OVERLAY, WATCHDOG, faulty_programs, legal, longer_than_the_watchdog, run, work_of

from skipopu.hdl.cosim.frontend import cosimulate
from skipopu.program.instruction_check import check_instructions
from skipopu.program.status import Condition, Memory, status, text
from skipopu.spec.overlay import Overlay

SMALLEST = ("sequencer.queue_depth=1", "sequencer.dispatch_stages=1", "sequencer.fetch_instructions=32")
FARTHEST = ("sequencer.dispatch_stages=16", "dma.crossing_stages=15", "sequencer.fetch_instructions=101")


def test_random_programs_on_tiny() -> None:
    assert cosimulate(Overlay.load("tiny"), 12, 200, seed=1).difference is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [("tiny", SMALLEST), ("tiny", FARTHEST), ("tiny", ()), ("skipopu-u280", ())]
)
def test_random_programs_on_any_overlay(name: str, settings: tuple[str, ...]) -> None:
    assert cosimulate(Overlay.load(name, settings), 60, 300, seed=2).difference is None


def test_a_faulty_program_stops_with_the_words_of_the_validator() -> None:
    conditions = faulty_programs()
    assert set(conditions) == {c for c in Condition if Condition.OK < c <= Condition.NO_INSTRUCTION}
    words = [each for programs in conditions.values() for each in programs[:6]]
    for each, seen in zip(words, run([work_of(w) for w in words]), strict=True):
        expected = check_instructions(each, OVERLAY)
        assert seen.status == expected
        assert text(seen.status) == text(expected)
        assert seen.count == expected.index  # what was dispatched before it has retired


def test_a_memory_that_answers_with_an_error_stops_the_program() -> None:
    works = [work_of(legal(150, seed), seed) for seed in (1, 2)]
    for memory in Memory:
        for seen in run(works, np.array([100, 1 << memory])):
            assert seen.status == status(Condition.MEMORY_ERROR, memory=memory)
            assert seen.count == len(seen.retired) < 150


def test_a_machine_that_stands_still_is_a_deadlock() -> None:
    (seen,) = run([work_of(longer_than_the_watchdog())])
    assert text(seen.status) == f"deadlock: nothing moved for {WATCHDOG} cycles"
    assert seen.count == 1  # HALT


def test_a_retire_stream_that_stalls_too_long_says_so() -> None:
    stalled = dataclasses.replace(work_of(legal(150, 3)), taken=np.array([1] + 99 * [0]))
    moving = dataclasses.replace(stalled, taken=np.ones(1, np.int64))
    assert [seen.lost for seen in run([stalled, moving])] == [True, False]
