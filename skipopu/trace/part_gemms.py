"""Products of modules that stand beside or in place of a layer's own: low-rank stand-ins and experts."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.schema import Trace
from skipopu.trace.vocabulary import MODULES

Product = tuple[int, int, str, int, int, int, str]


def approximations(trace: Trace, tokens: np.ndarray[Any, Any]) -> Iterator[Product]:
    """Yield both products of every low-rank stand-in D → rank → D (LFF)."""
    bits = trace.array("approx_rows")
    if bits is None or not bits.any():
        return
    rank, hidden = size_of(trace, "rank"), trace.header.shape.dimensions.hidden_size
    for module, rows in zip(MODULES, bits, strict=True):
        for step, layer, m in _counts(trace, rows & tokens):
            yield step, layer, f"{module}_approximation_in", m, rank, hidden, "rows"
            yield step, layer, f"{module}_approximation_out", m, hidden, rank, "rows"


def experts(trace: Trace, tokens: np.ndarray[Any, Any]) -> Iterator[Product]:
    """Yield the products of routing-free experts: every token is scored by all, the active ones run.

    Scoring is D → rank; an active expert multiplies rank → width and D → width, then width → D.
    """
    bits = trace.array("experts")
    if bits is None:
        return
    rank, width = size_of(trace, "expert_rank"), size_of(trace, "expert_size")
    hidden = trace.header.shape.dimensions.hidden_size
    scored = trace.rows("ffn") & tokens
    scored[: dense_layers(trace)] = False
    for step, layer, m in _counts(trace, scored):
        yield step, layer, "expert_score", m * trace.header.experts, rank, hidden, "rows × experts"
    for step, layer, m in _counts(trace, np.where(tokens, bits.sum(axis=2), 0)):
        yield step, layer, "expert_gate", m, width, rank, "rows × active experts"
        yield step, layer, "expert_up", m, width, hidden, "rows × active experts"
        yield step, layer, "expert_down", m, hidden, width, "rows × active experts"


def dense_layers(trace: Trace) -> int:
    """Return how many first layers of a mixture of experts have an ordinary FFN: provenance knob, 0 without it."""
    value = trace.header.provenance.knobs.get("dense_layers", 0)
    return value if type(value) is int else 0


def _counts(trace: Trace, amount: np.ndarray[Any, Any]) -> Iterator[tuple[int, int, int]]:
    """Yield (step, layer, sum of ``amount`` [layers, tokens])."""
    sums = np.add.reduceat(amount.astype(np.int64), trace.steps.first_token, axis=1)
    for layer, row in enumerate(sums.tolist()):
        yield from ((step, layer, m) for step, m in enumerate(row) if m)


def size_of(trace: Trace, knob: str) -> int:
    """Return a size in elements that the provenance says; SpecError without it."""
    value = trace.header.provenance.knobs.get(knob)
    if type(value) is not int or value < 1:
        raise SpecError(
            f"provenance.knobs.{knob} = {value!r}; a whole number of at least 1 says how wide the parts of family"
            f" {trace.header.family} are; export the trace with it"
        )
    return value
