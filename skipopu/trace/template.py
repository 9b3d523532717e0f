"""The template of a one-stream tracker: a square of tokens whose centre weighs all others (UTPTrack)."""

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.schema import Trace

TEMPLATE = "template"  # token class of the static template


def centre(tokens: int) -> int:
    """Return the centre token of a template of ``tokens`` tokens, a square of rows of tokens."""
    side = max(1, int(tokens**0.5))
    return min(tokens - 1, side // 2 * side + side // 2)


def centre_token(trace: Trace, step: int) -> int:
    """Return the token at the centre of the static template of ``step``; SpecError where the trace names none."""
    classes, names = trace.arrays.get("token_class"), trace.header.token_classes
    first, count = int(trace.steps.first_token[step]), int(trace.steps.token_count[step])
    if classes is None or TEMPLATE not in names:
        raise SpecError(f"trace: step {step}: scores of a template need token_class {TEMPLATE!r}; there is none")
    template = np.flatnonzero(classes[first : first + count] == names.index(TEMPLATE))
    if not len(template):
        raise SpecError(f"trace: step {step}: no token has token_class {TEMPLATE!r}; expected at least one")
    return first + int(template[centre(len(template))])
