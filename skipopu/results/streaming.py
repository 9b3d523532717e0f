"""How far a streaming run stays behind its source, on the simulated clock. The clock starts with the stream.

A step is done at the end of the cycle in which its last instruction retires, a word with its last step, as
`skipopu.trace.lagging` says. Words stand for whatever the source comes in: words, sentences, groups of frames.

- ``source_words_per_second``: words of the source over the arrival of its last one.
- ``first_word``: seconds until the first target word is done; ``since_first_source_word``: since the first word of the
  source was there (of words that are read together the first came as early as if they came evenly from the stream's
  start); ``since_awaited_source_word``: since the last of those was there that the policy reads before it writes.
- ``al_words``, ``laal_words``: lag of the policy in words; ``al_seconds``, ``laal_seconds``: lag on the simulated
  clock, computation included; ``without_computation``: the same seconds on a machine that takes no time. No reference
  translation is in a trace, so LAAL counts the words of the target itself and equals AL.
- ``input_late_cycles``: core cycles in which all that was there had been done, from the end of a step to the arrival of
  the next one's input; ``input_late``: their share of the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skipopu.sim.run import Ints, Run
from skipopu.sim.work import HERTZ_PER_MHZ, arrival_cycles
from skipopu.trace.lagging import SOURCE_TYPES, Lags, finish_times, lags, words

if TYPE_CHECKING:
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

SECTION = "streaming"


@dataclass(frozen=True)
class StepCycles:
    """Core cycles of each step, [steps]: the first with its input, the first of its own, the first after its last.

    Steps come one after the other: ``begin`` is the end of the step before, or ``arrival`` where that is later.
    """

    arrival: Ints
    begin: Ints
    end: Ints

    @property
    def late(self) -> int:
        """Cycles between a step's end and the arrival of the next one's input."""
        return int((self.begin - np.concatenate([[0], self.end[:-1]])).sum())


def streams(trace: "Trace") -> bool:
    """Return whether ``trace`` reads the words of a source and writes those of a target."""
    types = {segment.type for segment in trace.header.segments}
    return "target" in types and not types.isdisjoint(SOURCE_TYPES)


def step_cycles(run: Run, trace: "Trace", overlay: "Overlay") -> StepCycles:
    """Return when each step had its input and when it was at work; ``run`` has passed its audit."""
    arrival = arrival_cycles(trace, overlay)
    end = run.step_end + 1
    return StepCycles(arrival, np.maximum(arrival, np.concatenate([[0], end[:-1]])), end)


def reading_and_writing(run: Run, trace: "Trace", overlay: "Overlay") -> tuple[int, int]:
    """Core cycles of the steps that read and of those that write; the rest of the run is late input."""
    steps, writes = step_cycles(run, trace, overlay), trace.steps.decoding()
    took = steps.end - steps.begin
    return int(took[~writes].sum()), int(took[writes].sum())


def simulated_lags(run: Run, trace: "Trace", overlay: "Overlay") -> Lags:
    """Return the lags with the steps' ends on the simulated clock; SpecError where one ends before its input came."""
    return lags(trace, (run.step_end + 1) / (overlay.clock.core_mhz * HERTZ_PER_MHZ))


def least_lags(trace: "Trace") -> Lags:
    """Return the lags on a machine that takes no time: those of the policy and of the arrivals."""
    return lags(trace, finish_times(trace.steps, np.zeros(len(trace.steps))))


def source_steps(trace: "Trace") -> Ints:
    """Return the step that reads each word of the source, [source words]."""
    firsts = [segment.first for segment in trace.header.segments if segment.type in SOURCE_TYPES]
    return trace.steps.of_token()[firsts]


def streaming(run: Run, trace: "Trace", overlay: "Overlay") -> Mapping[str, Any]:
    """Return the section ``streaming`` of the summary: plain ints and floats, as defined above."""
    found, least = simulated_lags(run, trace, overlay), least_lags(trace)
    late = step_cycles(run, trace, overlay).late
    source, duration = len(source_steps(trace)), float(trace.steps.arrival_seconds.max())
    return {
        "source_words": source,
        "target_words": len(words(trace)),
        "source_words_per_second": source / duration if duration else 0.0,
        "first_word": {
            "since_first_source_word": found.first_word_seconds - _first_source_word(trace),
            "since_awaited_source_word": found.first_word_wait_seconds,
        },
        "al_words": found.al_words,
        "laal_words": found.laal_words,
        "al_seconds": found.al_seconds,
        "laal_seconds": found.laal_seconds,
        "without_computation": {"al_seconds": least.al_seconds, "laal_seconds": least.laal_seconds},
        "input_late_cycles": late,
        "input_late": late / run.core_cycles,
    }


def _first_source_word(trace: "Trace") -> float:
    """Seconds after which the first word was there, if those of the first read came evenly."""
    read = source_steps(trace)
    together = int((read == read[0]).sum())
    return float(trace.steps.arrival_seconds[read[0]]) / together
