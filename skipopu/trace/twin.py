"""The dense twin of a trace: the same tokens and steps, everything executed."""

from dataclasses import replace

import numpy as np

from skipopu.trace.header import Provenance
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.vocabulary import EventKind

SCHEDULE = ("token_ids", "positions", "token_class", "kv_read_offsets", "kv_read")
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
