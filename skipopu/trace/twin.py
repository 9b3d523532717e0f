"""Twins of a trace: the same tokens and steps, everything executed, or the K/V of everything."""

from dataclasses import replace

import numpy as np

from skipopu.trace.arrays import to_stored
from skipopu.trace.header import Provenance
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, axis_sizes, make_trace
from skipopu.trace.validate import validate
from skipopu.trace.vocabulary import EventKind

SCHEDULE = ("token_ids", "positions", "token_class", "kv_read_offsets", "kv_read", "logit_rows")
SCHEDULE_EVENTS = (EventKind.KV_POP, EventKind.PREFIX_REUSE, EventKind.DECISION_OP)


def dense_like(trace: Trace) -> Trace:
    """Return the dense model's run over the same steps: no routers, no pruning, every row in every layer.

    What belongs to the schedule stays (segments, caches, positions, reads, popped and reused entries); what
    belongs to pruning goes (groups, experts, masks, layer shapes, insertions, prunings, exits, scores).
    """
    old = trace.header
    header = replace(
        old,
        family="dense",
        router=Router(),
        kv_policy="dense",
        provenance=Provenance(old.provenance.kind, source=f"dense twin of {old.family} {trace.sha256[:16]}"),
        caches=tuple(replace(cache, capacity=()) for cache in old.caches),  # sized for the pruned model
        layer_shapes=(),
        head_groups=0,
        ffn_groups=0,
        experts=0,
        attention_block=(),
    )
    everything = np.ones((trace.layers, trace.tokens), bool)
    arrays = {name: trace.arrays[name] for name in SCHEDULE if name in trace.arrays}
    events = [event for event in trace.events if event.kind in SCHEDULE_EVENTS]
    return make_trace(
        header, trace.steps, q=everything, kv=everything, ffn=everything, events=events, **arrays
    )


def partial_skip_like(trace: Trace) -> Trace:
    """Return the run that skips queries and FFN rows as ``trace`` does, with K/V of every token in every layer."""
    old = trace.header
    source = f"{old.family} {trace.sha256[:16]} with the K/V of every token"
    header = replace(
        old,
        kv_policy="dense",
        provenance=Provenance(old.provenance.kind, source=source),
        caches=tuple(replace(cache, capacity=()) for cache in old.caches),  # sized for what was kept
    )
    everything = np.ones((trace.layers, trace.tokens), bool)
    rows_kv = to_stored("rows_kv", everything, axis_sizes(header, trace.steps))
    twin = Trace(header, trace.steps, {**trace.arrays, "rows_kv": rows_kv}, trace.events)
    validate(twin)
    return twin
