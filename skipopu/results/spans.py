"""Where prefill ends and decode begins, in steps and in cycles."""

from typing import TYPE_CHECKING

import numpy as np

from skipopu.sim.run import Run

if TYPE_CHECKING:
    from skipopu.trace import Trace


def phase_cycles(run: Run) -> tuple[int, int]:
    """Core cycles of prefill and of decode; they sum to those of the run."""
    return run.prefill_cycles, run.core_cycles - run.prefill_cycles


def first_decode_step(trace: "Trace") -> int:
    """Index of the first step that generates; the number of steps where none does."""
    decoding = trace.steps.decoding()
    return int(np.argmax(decoding)) if decoding.any() else len(trace.steps)


def decode_span(run: Run, trace: "Trace") -> int:
    """Core cycles since the first decode instruction began: engines run ahead into the prefill."""
    begun = run.retired.first[run.retired.step >= first_decode_step(trace)]
    return run.core_cycles - int(begun.min()) if begun.size else 0
