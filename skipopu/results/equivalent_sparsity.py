"""Equivalent static-M sparsity: which share of whole layers would have to go for the same time (2606.09080).

The reference is measured, not assumed: runs of the dense model and of models that lack a share of their layers
(`skipopu trace static --knob kind=depth`), at the same lengths on the same overlay. Between two of them, and beyond
the last, time is a line.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Summary = Mapping[str, Any]
PHASES = ("prefill", "decode")


def equivalents(summaries: Sequence[Summary]) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Yield (phase, share of layers a run) for phases that have tokens; nothing without a reference to measure by.

    A reference stands at its own sparsity. Slower than dense is negative.
    """
    for phase in PHASES:
        if not all(s[phase]["tokens"] for s in summaries):
            continue
        points = sorted({(_time(s, phase), _sparsity(s)) for s in summaries if _is_reference(s)}, reverse=True)
        if len({share for _, share in points}) > 1:
            yield phase, tuple(_at(points, _time(s, phase)) for s in summaries)


def _is_reference(summary: Summary) -> bool:
    """Dense, or without some of its modules; a static model that skips none is cut in width or rank."""
    family = summary["trace"]["family"]
    return bool(family == "dense" or (family == "static" and summary["skip"]["module"] > 0))


def _sparsity(summary: Summary) -> float:
    return float(summary["skip"]["module"])


def _time(summary: Summary, phase: str) -> float:
    """Of all tokens in prefill, of one in decode, so that runs of several lengths of decode compare."""
    return float(summary[phase]["seconds"]) / (summary[phase]["tokens"] if phase == "decode" else 1)


def _at(points: Sequence[tuple[float, float]], time: float) -> float:
    """Share at ``time`` on the line through the two points around it, or the nearest two."""
    times = [t for t, _ in points]
    after = int(np.clip(np.searchsorted(-np.array(times), -time), 1, len(points) - 1))
    (t0, s0), (t1, s1) = points[after - 1 : after + 1]
    return s0 + (s1 - s0) * (t0 - time) / (t0 - t1)
