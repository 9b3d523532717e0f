"""How far a streaming model lags behind its source: average lagging, in words and in seconds.

Definitions, for target words t = 1 … |y| and source words 1 … |x|:

- AL (Ma et al., ACL 2019) = 1/τ · Σ_{t=1}^{τ} (d_t − (t − 1) · X / Y). d_t is the source that had gone by when word t
  was done, X the whole source in the same unit, and τ the first word that was written with the whole source read (the
  last word, if there is none). X / Y is the source that a writer of perfect pace takes for a word; Y = |y*| is the
  length of the reference translation, here that of the target itself unless given.
- LAAL (Papi et al., 2022) is the same with Y = max(|y|, |y*|), so that a long target earns no negative lag.

In words, d_t counts the source words read before word t and X = |x|: the lag of the policy. In seconds d_t is when word
t was finished on a clock that starts with the stream, and X when the last source word arrived: with the finish times of
a machine the lag is computation-aware. τ is the same word in both units. Sentences and frame groups count like words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.trace.schema import Trace
from skipopu.trace.steps import Steps

SOURCE_TYPES = ("source", "frame")
Seconds = NDArray[np.float64]


@dataclass(frozen=True)
class Word:
    """A unit of the target: its first and last step, and how many source units had been read before it."""

    first_step: int
    last_step: int
    read: int


@dataclass(frozen=True)
class Lags:
    """First word: seconds from the start of the stream, and from the arrival of what it waited for; AL and LAAL."""

    first_word_seconds: float
    first_word_wait_seconds: float
    al_words: float
    laal_words: float
    al_seconds: float
    laal_seconds: float


def words(trace: Trace) -> tuple[Word, ...]:
    """Return the units of the target in order, from the segments of ``trace``; SpecError where it has none.

    A word is done with its last step: where the token after it shows its end, with the step that made that token.
    """
    found, read, step = [], 0, trace.steps.of_token()
    for segment in trace.header.segments:
        if segment.type in SOURCE_TYPES:
            read += 1
        elif segment.type == "target":
            last = segment.first + segment.count - 1
            found.append(Word(int(step[segment.first]), int(step[last]), read))
    if not found or not read:
        raise SpecError(f"the trace of {trace.header.family} has no target segments after source ones; expected both")
    return tuple(found)


def lags(trace: Trace, finish_seconds: Sequence[float] | Seconds, reference: int | None = None) -> Lags:
    """Return how far ``trace`` lags when step i is finished ``finish_seconds[i]`` after the stream began.

    ``reference`` is the number of words of a reference translation, that of the trace itself unless given.
    """
    finish, done = _finish(trace, finish_seconds), words(trace)
    last = _last_counted(trace, done)
    policy = [word.read for word in done]
    clock = [float(finish[word.last_step]) for word in done]
    source, duration = _source_words(trace), float(trace.steps.arrival_seconds.max())
    target = len(done) if reference is None else reference
    longer = max(len(done), target)
    return Lags(
        clock[0],
        clock[0] - float(trace.steps.arrival_seconds[done[0].first_step]),
        average_lagging(policy, source, target, last),
        average_lagging(policy, source, longer, last),
        average_lagging(clock, duration, target, last),
        average_lagging(clock, duration, longer, last),
    )


def average_lagging(delays: Sequence[float], source: float, target: int, last: int | None = None) -> float:
    """Return 1/τ · Σ_{t=1}^{τ} (``delays``[t] − (t − 1) · ``source`` / ``target``), in the unit of delays and source.

    ``target`` is Y of the definition above, in words. ``last`` is τ; unless given, the first word whose delay reaches
    ``source``, or the last word.
    """
    d = np.asarray(delays, np.float64)
    if not len(d) or target < 1:
        raise SpecError(f"{len(d)} delays and a target of {target} words; expected at least one of each")
    if last is None:
        reached = np.flatnonzero(d >= source)
        last = int(reached[0]) + 1 if len(reached) else len(d)
    return float(np.mean(d[:last] - np.arange(last) * (source / target)))


def finish_times(steps: Steps, seconds: Sequence[float] | Seconds, overlapped: bool = False) -> Seconds:
    """Return when each step is finished, seconds, if it takes ``seconds`` and cannot begin before its input arrives.

    One machine runs the steps in their order. ``overlapped``: each step begins as soon as those it waits for are done,
    as if a machine were free for every stream.
    """
    took = np.asarray(seconds, np.float64)
    if took.shape != (len(steps),) or not np.all(np.isfinite(took) & (took >= 0)):
        raise SpecError(f"durations of shape {list(took.shape)}; expected {len(steps)} of at least 0 s, one a step")
    finish = np.zeros(len(steps))
    for step in range(len(steps)):
        before = steps.dependencies(step).tolist() if overlapped else range(max(0, step - 1), step)
        begin = max([float(steps.arrival_seconds[step]), *(float(finish[i]) for i in before)])
        finish[step] = begin + took[step]
    return finish


def _last_counted(trace: Trace, done: Sequence[Word]) -> int:
    whole = _source_words(trace)
    return next((t for t, word in enumerate(done, 1) if word.read == whole), len(done))


def _source_words(trace: Trace) -> int:
    return sum(segment.type in SOURCE_TYPES for segment in trace.header.segments)


def _finish(trace: Trace, seconds: Sequence[float] | Seconds) -> Seconds:
    finish = np.asarray(seconds, np.float64)
    if finish.shape != (len(trace.steps),):
        found = f"finish times of shape {list(finish.shape)}"
        raise SpecError(f"{found}; expected one for each of {len(trace.steps)} steps")
    early = np.flatnonzero(finish < trace.steps.arrival_seconds)
    if len(early):
        raise SpecError(
            f"step {early[0]} is finished at {finish[early[0]]:g} s; its input arrives at"
            f" {trace.steps.arrival_seconds[early[0]]:g} s: count from the start of the stream"
        )
    return finish
