"""Rules about tokens and layers: segments, identities, positions, masks."""

from collections.abc import Callable

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.schema import Trace
from skipopu.trace.vocabulary import KvSource, MaskClass


def segments(trace: Trace) -> None:
    """Segments come in order, do not overlap, and lie within the tokens."""
    end = 0
    for segment in trace.header.segments:
        if segment.first < end or segment.first + segment.count > trace.tokens:
            raise SpecError(
                f"segment {segment.type} spans {segment.first}+{segment.count}; expected segments in order,"
                f" without overlap, within {trace.tokens} tokens"
            )
        end = segment.first + segment.count


def identities(trace: Trace) -> None:
    """Token ids lie in the vocabulary, token classes among the named ones."""
    ids, classes, names = trace.token_ids, trace.arrays.get("token_class"), trace.header.token_classes
    vocabulary = trace.header.shape.dimensions.vocabulary
    if ids is not None and (ids.min() < 0 or ids.max() >= vocabulary):
        raise SpecError(f"token_ids span {ids.min()}..{ids.max()}; the vocabulary has 0..{vocabulary - 1}")
    if classes is not None and classes.max() >= len(names):
        raise SpecError(f"token_class holds {classes.max()}; header.token_classes names {len(names)}")


def positions(trace: Trace) -> None:
    """Positions are given exactly where the policy says so."""
    array, policy = trace.arrays.get("positions"), trace.header.position_policy
    if (array is not None) != (policy == "explicit"):
        raise SpecError(f"position_policy = {policy!r}; 'explicit' and the array 'positions' come together")
    if array is not None and array.min() < 0:
        raise SpecError(f"positions reach down to {array.min()}; must not be negative")


def layer_words(trace: Trace) -> None:
    """Mask classes and K/V sources are known words."""
    for name, enum in (("mask_class", MaskClass), ("kv_source", KvSource)):
        column = trace.arrays.get(name)
        if column is not None and column.max() >= len(enum):
            raise SpecError(f"array {name!r} holds {column.max()}; expected 0..{len(enum) - 1}")


def windows(trace: Trace) -> None:
    """Exactly the layers with a window mask have a window."""
    masks, widths = trace.arrays.get("mask_class"), trace.arrays.get("mask_window")
    windowed = np.zeros(trace.layers, bool) if masks is None else masks == MaskClass.WINDOW
    given = np.zeros(trace.layers, bool) if widths is None else widths > 0
    if not np.array_equal(windowed, given) or (widths is not None and widths.min() < 0):
        raise SpecError("mask_window must be positive in layers of mask class window and 0 in the others")


def logits(trace: Trace) -> None:
    """No step yields more logits than it has rows."""
    rows, counts = trace.arrays.get("logit_rows"), trace.steps.token_count
    if rows is not None and np.any((rows < 0) | (rows > counts)):
        step = int(np.flatnonzero((rows < 0) | (rows > counts))[0])
        raise SpecError(f"step {step}: logit_rows = {rows[step]}; must be in 0..{counts[step]}, the rows of the step")


RULES: tuple[Callable[[Trace], None], ...] = (
    segments, identities, positions, layer_words, windows, logits,
)  # fmt: skip
