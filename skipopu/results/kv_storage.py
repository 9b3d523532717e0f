"""What the K/V of a trace take to store, and a decode step to read, under each policy for the same masks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skipopu.results.compare import Row
from skipopu.results.kv_reads import vector_bytes
from skipopu.trace import StepPhase

if TYPE_CHECKING:
    from skipopu.program.context import Context

POLICIES = ("dense", "reuse_last", "evict")


def storage(context: "Context") -> dict[str, dict[str, float]]:
    """Return policy → bytes stored for the whole trace, and bytes and tokens that a decode step reads on average.

    ``dense``: every token projects its K/V in every layer. ``reuse_last`` and ``evict`` store those of executed
    tokens; a skipped token is read from the layer it last executed in, or is not visible. Reads are those of layers
    whose query executes; ``visible`` are the tokens that such a query sees.
    """
    trace, size = context.trace, vector_bytes(context)
    executed = trace.rows("q" if trace.header.kv_policy == "dense" else "kv")
    newest = _decoded(context)
    queries = trace.rows("q")[:, newest]
    found: dict[str, dict[str, float]] = {}
    for policy in POLICIES:
        seen = np.cumsum(_visible(executed, policy), axis=1)[:, newest]
        read = int(seen[queries].sum())
        stored = executed.size if policy == "dense" else int(executed.sum())
        found[policy] = {
            "bytes_stored": stored * size,
            "bytes_read_per_step": read * size / len(newest) if len(newest) else 0.0,
            "visible": read / int(queries.sum()) if queries.any() else 0.0,
        }
    return found


def storage_rows(found: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return the figures as rows of a table with a column a policy."""
    figures: tuple[tuple[str, str, str], ...] = (
        ("K/V stored", "B", "bytes_stored"),
        ("read by a decode step", "B", "bytes_read_per_step"),
        ("seen by a query", "tokens", "visible"),
    )
    return [Row(label, unit, -1, tuple(found[p][key] for p in POLICIES)) for label, unit, key in figures]


def _decoded(context: "Context") -> NDArray[np.int64]:
    steps = context.trace.steps
    return np.asarray(steps.first_token[steps.phase == StepPhase.DECODE], np.int64)


def _visible(executed: NDArray[np.bool_], policy: str) -> NDArray[np.bool_]:
    if policy == "dense":
        return np.ones_like(executed)
    return np.logical_or.accumulate(executed, axis=0) if policy == "reuse_last" else executed
