"""Multiply-accumulates that a trace's executed rows need, from the model's dimensions alone."""

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.ledger import Phase
from skipopu.trace import Trace, keys_per_query
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.steps import DECODE_PHASES


def macs(trace: Trace) -> NDArray[np.int64]:
    """Return multiply-accumulates [Phase]: projections, attention, FFN, routers, an LM head row a step."""
    s = trace.header.shape
    d = s.dimensions
    q, kv, ffn = (trace.rows(kind) for kind in ("q", "kv", "ffn"))
    visible = keys_per_query(trace)
    token = q * 2 * d.hidden_size * s.query_size + kv * 2 * d.hidden_size * s.kv_size + ffn * s.ffn_weights
    token = (token + q * visible * 2 * s.query_size).sum(axis=0) + router_macs(trace)
    found, heads = np.zeros(len(Phase), np.int64), logit_rows(trace)
    for step in range(len(trace.steps)):
        phase = Phase.DECODE if trace.steps.phase[step] in DECODE_PHASES else Phase.PREFILL
        first = int(trace.steps.first_token[step])
        found[phase] += token[first : first + int(trace.steps.token_count[step])].sum()
        found[phase] += heads[step] * d.hidden_size * d.vocabulary
    return found


def router_macs(trace: Trace) -> int:
    """Multiply-accumulates of all routers for one token."""
    router, d = trace.header.router, trace.header.shape.dimensions
    if router.kind == "none":
        return 0
    count = d.layers - len(router.always_on_attention)
    if not router.shared:  # a shared router decides once a layer
        count += d.layers - len(router.always_on_ffn)
    if router.kind == "linear":
        return count * 2 * d.hidden_size
    return count * router.hidden * (d.hidden_size + 2)
