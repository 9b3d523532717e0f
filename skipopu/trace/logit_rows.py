"""How many rows of each step meet the LM head."""

import numpy as np
from numpy.typing import NDArray

from skipopu.trace.schema import Trace
from skipopu.trace.vocabulary import EventKind, StepPhase

HEADLESS = (StepPhase.ENCODE, StepPhase.READ)  # steps that yield no logit


def logit_rows(trace: Trace) -> NDArray[np.int64]:
    """Return the rows, the last ones of each step, whose logits are computed, [steps].

    Where the trace does not say: one, and none in encode and read steps and where a decision head waited.
    """
    given = trace.arrays.get("logit_rows")
    if given is not None:
        return given.astype(np.int64)
    rows = (~np.isin(trace.steps.phase, HEADLESS)).astype(np.int64)
    rows[[e.step for e in trace.events if e.kind is EventKind.DECISION_OP and e.outcome == 0]] = 0
    return rows
