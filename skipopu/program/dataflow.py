"""The four dataflows of SkipOPU §5.3: what of a trace is computed, and whether norm and softmax are fused."""

from collections.abc import Callable
from dataclasses import dataclass

from skipopu.spec.error import SpecError
from skipopu.trace import Trace, dense_like, partial_skip_like

FUSED, PACKED = "dataflow.fused", "dataflow.packed_heads"
REUSE = "reuse_last"


@dataclass(frozen=True)
class Dataflow:
    """``settings`` of the overlay, and ``of``: the trace that runs in place of the one given."""

    settings: tuple[str, ...]
    of: Callable[[Trace], Trace]


def reusing(trace: Trace) -> Trace:
    """Return ``trace`` as it is; raises SpecError where skipped tokens do not reuse the K/V of an earlier layer."""
    if trace.header.kv_policy != REUSE:
        raise SpecError(
            f"kv_policy = {trace.header.kv_policy}; a dataflow with K/V reuse needs {REUSE}; valid for this"
            " trace: baseline, partial_skip"
        )
    return trace


ROW_WISE = (f"{FUSED}=false", f"{PACKED}=1")
DATAFLOWS = {
    "baseline": Dataflow(ROW_WISE, dense_like),
    "partial_skip": Dataflow(ROW_WISE, partial_skip_like),
    "kv_reuse": Dataflow(ROW_WISE, reusing),
    "kv_reuse_fused": Dataflow((f"{FUSED}=true", f"{PACKED}=2"), reusing),
}
