"""Multiply-accumulates that a trace's executed rows need, from the model's dimensions alone."""

import numpy as np
from numpy.typing import NDArray

from skipopu.program.executed_shape import executed_shape, layer_widths
from skipopu.program.head_matrices import CLASS, DECISION, LM, WORD, columns_of, decisions, searches
from skipopu.program.joints import joint_events
from skipopu.program.part_matrices import LOGITS
from skipopu.program.score_layers import VECTORS
from skipopu.spec.ledger import Phase
from skipopu.trace import ScoreOp, StepPhase, Trace, keys_per_query
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.part_gemms import dense_layers, size_of
from skipopu.trace.steps import DECODE_PHASES


def macs(trace: Trace) -> NDArray[np.int64]:
    """Return multiply-accumulates [Phase]: projections, attention, FFN, routers, heads, scores, modules of joints."""
    token = layer_macs(trace) + router_macs(trace)
    found, once = np.zeros(len(Phase), np.int64), head_macs(trace) + score_macs(trace) + joint_macs(trace)
    for step in range(len(trace.steps)):
        phase = Phase.DECODE if trace.steps.phase[step] in DECODE_PHASES else Phase.PREFILL
        first = int(trace.steps.first_token[step])
        found[phase] += token[first : first + int(trace.steps.token_count[step])].sum()
        found[phase] += once[step]
    return found


def head_macs(trace: Trace) -> NDArray[np.int64]:
    """Multiply-accumulates of the heads of each step, [steps]: rows times columns that are asked for."""
    shape = executed_shape(trace.header)
    output = np.where(trace.steps.phase == StepPhase.SCORE, columns_of(CLASS, shape), columns_of(LM, shape))
    columns = logit_rows(trace) * output + decisions(trace) * columns_of(DECISION, shape)
    for event in searches(trace):
        columns[event.step] += event.rows * columns_of(WORD, shape)
    found: NDArray[np.int64] = columns * shape.dimensions.hidden_size
    return found


def score_macs(trace: Trace) -> NDArray[np.int64]:
    """Multiply-accumulates of score operations, [steps]: a product of all heads a pair, and what is projected for it.

    An influence weighs the values of the layer's own attention; the query and the keys of a last token are the score's.
    """
    found, widths = np.zeros(len(trace.steps), np.int64), layer_widths(trace)
    for event in trace.events:
        if event.op in VECTORS:
            found[event.step] += event.rows * event.keys * widths[event.layer].query
        if event.op is ScoreOp.LAST_TOKEN_ATTENTION:
            of = widths[event.layer].row_macs(trace.header.shape.gated)
            found[event.step] += event.rows * of["q"] + event.keys * of["k"]
    return found


def joint_macs(trace: Trace) -> NDArray[np.int64]:
    """Multiply-accumulates of the modules through which vision states join, [steps]: 2D → D → D a token."""
    found = np.zeros(len(trace.steps), np.int64)
    for event in joint_events(trace):
        found[event.step] += event.outcome * event.rows * 3 * executed_shape(trace.header).dimensions.hidden_size ** 2
    return found


def layer_macs(trace: Trace) -> NDArray[np.int64]:
    """Multiply-accumulates of each token in attention and FFN of all layers, as they were pruned, [tokens]."""
    q, kv, ffn = (trace.rows(kind) for kind in ("q", "kv", "ffn"))
    found, visible = np.zeros(trace.tokens, np.int64), keys_per_query(trace)
    parts = {name: trace.array(name) for name in ("head_groups", "ffn_groups")}
    first = dense_layers(trace) if trace.header.experts else trace.layers  # from here on experts are the FFN
    for layer, widths in enumerate(layer_widths(trace)):
        of = widths.row_macs(trace.header.shape.gated)
        own = q[layer] * (of["q"] + of["o"] + 2 * widths.query * visible[layer])
        found += _share(own, parts["head_groups"], layer) + kv[layer] * (of["k"] + of["v"])
        if layer < first:
            own = ffn[layer] * (of.get("gate", 0) + of["up"] + of["down"])
            found += _share(own, parts["ffn_groups"], layer)
    return found + _part_macs(trace)


def _share(whole: NDArray[np.int64], groups: NDArray[np.bool_] | None, layer: int) -> NDArray[np.int64]:
    """Of a module's multiply-accumulates those of the groups that run, [tokens]."""
    return whole if groups is None else whole // groups.shape[2] * groups[layer].sum(axis=1)


def _part_macs(trace: Trace) -> NDArray[np.int64]:
    """Of experts and of low-rank stand-ins, [tokens]."""
    hidden, found = executed_shape(trace.header).dimensions.hidden_size, np.zeros(trace.tokens, np.int64)
    experts, approximated = trace.array("experts"), trace.array("approx_rows")
    if experts is not None:
        rank, size = size_of(trace, "expert_rank"), size_of(trace, "expert_size")
        found += trace.rows("ffn")[dense_layers(trace) :].sum(axis=0) * trace.header.experts * rank * hidden
        found += experts.sum(axis=(0, 2)) * size * (rank + 2 * hidden)
    if approximated is not None and approximated.any():
        found += approximated.sum(axis=(0, 1)) * 2 * size_of(trace, "rank") * hidden
    return found


def router_macs(trace: Trace) -> int:
    """Multiply-accumulates of all routers for one token."""
    router, d = trace.header.router, executed_shape(trace.header).dimensions
    if router.kind == "none":
        return 0
    found, header = 0, trace.header
    for always, groups in ((router.always_on_attention, header.head_groups), (router.always_on_ffn, header.ffn_groups)):
        logits = LOGITS * max(groups, 1)
        one = logits * d.hidden_size if router.kind == "linear" else router.hidden * (d.hidden_size + logits)
        found += (d.layers - len(always)) * one
        if router.shared:  # decides once a layer
            break
    return found
