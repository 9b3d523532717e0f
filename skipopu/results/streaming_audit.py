"""The audit of a streaming run: nothing is done before its input is there, and no lag is under that of the arrivals."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from skipopu.results.check import Check, at_most, equal
from skipopu.results.streaming import (
    SECTION,
    StepCycles,
    least_lags,
    simulated_lags,
    source_steps,
    step_cycles,
    streams,
)
from skipopu.sim.run import Ints, Run
from skipopu.spec.ledger import Block, Cause
from skipopu.trace.lagging import words

if TYPE_CHECKING:
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

ENGINES = [block for block in Block if block not in (Block.SEQUENCER, Block.NPE)]
LAGS = ("first_word_seconds", "first_word_wait_seconds", "al_seconds", "laal_seconds")
DIGITS = 9  # of the seconds in a check: far under a cycle


def streaming_checks(run: Run, trace: "Trace", overlay: "Overlay") -> Iterator[Check]:
    """Yield the checks of a trace that streams; none where others have found that steps are missing."""
    steps = np.arange(len(trace.steps))
    if not streams(trace) or len(run.step_end) != len(steps) or not np.array_equal(np.unique(run.retired.step), steps):
        return
    cycles = step_cycles(run, trace, overlay)
    done = run.step_end >= cycles.arrival
    yield equal(f"{SECTION}.begun", "steps", len(steps), "begun after their input came", _begun(run, cycles))
    yield equal(f"{SECTION}.done", "steps", len(steps), "done after their input came", int(done.sum()))
    yield _words(trace, cycles)
    if not done.all():
        return  # nothing else can be said of such times
    idle = run.ledger[:, ENGINES, Cause.IDLE].sum(axis=0).min()
    yield at_most(f"{SECTION}.late", "cycles of late input", cycles.late, "idle cycles of every engine", int(idle))
    yield from _lags(run, trace, overlay)


def _begun(run: Run, cycles: StepCycles) -> int:
    """Steps none of whose instructions an engine took before the step's input was there."""
    first: Ints = np.full(len(cycles.arrival), np.iinfo(np.int64).max)
    np.minimum.at(first, run.retired.step, run.retired.issue)
    return int((first >= cycles.arrival).sum())


def _words(trace: "Trace", cycles: StepCycles) -> Check:
    """Every target word is done after the last source word read before it has come."""
    done = words(trace)
    came = np.concatenate([[0], np.maximum.accumulate(cycles.arrival[source_steps(trace)])])
    after = sum(int(cycles.end[word.last_step] > came[word.read]) for word in done)
    return equal(f"{SECTION}.words", "target words", len(done), "done after the source they wait for", after)


def _lags(run: Run, trace: "Trace", overlay: "Overlay") -> Iterator[Check]:
    found, least = simulated_lags(run, trace, overlay), least_lags(trace)
    for name in LAGS:
        there, here = round(getattr(least, name), DIGITS), round(getattr(found, name), DIGITS)
        yield at_most(f"{SECTION}.{name}", "seconds of the arrivals alone", there, "simulated seconds", here)
