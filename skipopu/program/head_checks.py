"""What heads need of a trace: states to work on, and words to compare with."""

import numpy as np

from skipopu.program.head_matrices import decisions, searches
from skipopu.program.row_blocks import active_rows
from skipopu.spec.error import SpecError
from skipopu.trace import Trace
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.visual import visual_segments


def check_heads(trace: Trace) -> None:
    """Raise SpecError for rows without a state, and for searches that are not of all visual tokens at the entry."""
    steps, active = trace.steps, active_rows(trace)
    asked = np.maximum(logit_rows(trace), decisions(trace) > 0)
    for step, (first, count, rows) in enumerate(zip(steps.first_token, steps.token_count, asked, strict=True)):
        missing = np.flatnonzero(~active[:, first + count - rows : first + count].any(axis=0))
        if missing.size:
            token = first + count - rows + missing[0]
            raise SpecError(f"trace step {step}: a head meets token {token}, which runs in no layer; let it run in one")
    _check_searches(trace)


def _check_searches(trace: Trace) -> None:
    vocabulary, visual = trace.header.shape.dimensions.vocabulary, visual_segments(trace)
    for event in searches(trace):
        first, count = trace.steps.first_token[event.step], trace.steps.token_count[event.step]
        rows = int(visual[first : first + count].sum())
        if (event.layer, event.rows, event.keys) != (0, rows, vocabulary) or trace.steps.decoding()[event.step]:
            raise SpecError(
                f"trace: {event}: vocabulary_cosine of {event.rows} rows and {event.keys} words in layer {event.layer};"
                f" the compiler takes the {rows} visual tokens of a step that reads, all {vocabulary} words, layer 0"
            )
