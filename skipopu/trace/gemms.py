"""The matrix products that a trace stands for: what ran, as (M, N, K), exact in multiply-accumulates.

Conventions. M counts rows that run; where a row runs in part it counts (row, group) pairs and N or K is the width of a
group, so that M·N·K stays exact. Attention counts (row, key, head) triples, M of them: ``scores`` is M × 1 × head_dim,
``values`` M × head_dim × 1. Pruning scores that a layer's own attention yields anyway cost nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from skipopu.trace.attention_pairs import head_pairs
from skipopu.trace.event import Event
from skipopu.trace.layer_widths import Widths, width_groups
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.part_gemms import approximations, dense_layers, experts
from skipopu.trace.schema import Trace
from skipopu.trace.vocabulary import EventKind, ScoreOp, StepPhase

DECISIONS = 2  # outputs of a decision head: write, wait
SCORE_CLASSES = 2  # rows of the output head that a relevance score needs: yes and no


@dataclass(frozen=True)
class Gemm:
    """One product [m, k] × [k, n] of a step; ``layer`` is −1 for the output head. ``note`` says what m counts."""

    step: int
    layer: int
    name: str
    m: int
    n: int
    k: int
    note: str = ""

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.n * self.k


def gemms(trace: Trace, tokens: np.ndarray[Any, Any] | None = None) -> list[Gemm]:
    """Return every product of a trace, by step and layer; those without rows are left out.

    ``tokens`` (bool, [tokens]) restricts rows to some tokens; then routers, scores and output head are left out.
    Not counted: element-wise work, norms, embeddings, the vision tower. Raises SpecError where the trace lacks a size
    (rank of a low-rank stand-in, widths of experts: provenance knobs ``rank``, ``expert_rank``, ``expert_size``; knob
    ``dense_layers`` counts first layers with an ordinary FFN).
    """
    chosen = np.ones(trace.tokens, bool) if tokens is None else tokens
    found = [*_layers(trace, chosen), *(approximations(trace, chosen)), *(experts(trace, chosen))]
    products = [Gemm(*values) for values in found]
    if tokens is None:
        products += [*_routers(trace), *_scores(trace), *_heads(trace)]
    return sorted((g for g in products if g.macs), key=lambda g: (g.step, g.layer % (trace.layers + 1)))


def total_macs(products: Iterable[Gemm], *names: str) -> int:
    """Return the multiply-accumulates of products, of those called ``names`` where any are given."""
    return sum(product.macs for product in products if not names or product.name in names)


def _layers(trace: Trace, tokens: np.ndarray[Any, Any]) -> Iterator[tuple[Any, ...]]:
    """Yield the products of attention and FFN of every layer and every set of tokens with the same widths."""
    step, steps = trace.steps.of_token(), len(trace.steps)
    units, pairs, channels = _units(trace, "head_groups", "q"), head_pairs(trace), _units(trace, "ffn_groups", "ffn")
    for layer in range(trace.layers):
        for members, w in width_groups(trace, layer):

            def count(amount: np.ndarray[Any, Any], mine: np.ndarray[Any, Any] = members) -> list[int]:
                weights = np.where(mine & tokens, amount, 0)
                return [int(v) for v in np.bincount(step, weights, minlength=steps)]

            kv = count(trace.rows("kv")[layer])
            q, ffn, keys = count(units[layer]), count(channels[layer]), count(pairs[layer])
            for i in range(steps):
                yield from _layer(trace, w, i, layer, (q[i], kv[i], ffn[i], keys[i]))


def _layer(trace: Trace, w: Widths, step: int, layer: int, counts: tuple[int, ...]) -> Iterator[tuple[Any, ...]]:
    q, kv, ffn, keys = counts
    heads, channels = w.query // max(trace.header.head_groups, 1), w.ffn // max(trace.header.ffn_groups, 1)
    by_head = "rows × head groups" if trace.header.head_groups else "rows"
    by_channel = "rows × FFN groups" if trace.header.ffn_groups else "rows"
    if trace.header.experts and layer >= dense_layers(trace):
        ffn = 0  # every product of the FFN is an expert's
    projections = [("q", q, heads, w.hidden, by_head), ("k", kv, w.kv, w.hidden, "rows")]
    projections += [("v", kv, w.kv, w.hidden, "rows"), ("o", q, w.hidden, heads, by_head)]
    if trace.header.shape.gated:
        projections.append(("gate", ffn, channels, w.hidden, by_channel))
    projections += [("up", ffn, channels, w.hidden, by_channel), ("down", ffn, w.hidden, channels, by_channel)]
    for name, m, n, k, note in projections:
        yield from ((step, layer, *product) for product in w.product(name, m, n, k, note))
    yield step, layer, "scores", keys, 1, w.head_dim, "row × key × head triples"
    yield step, layer, "values", keys, w.head_dim, 1, "row × key × head triples"


def _units(trace: Trace, groups: str, kind: Any) -> np.ndarray[Any, Any]:
    """Return how many groups of each row run, [layers, tokens]; 1 where rows are whole."""
    bits = trace.array(groups)
    return trace.rows(kind).astype(np.int64) if bits is None else bits.sum(axis=2)


def _routers(trace: Trace) -> Iterator[Gemm]:
    """Yield the routers: linear D → 2, or D → hidden → 2 (→ 2 outputs a group where groups are routed)."""
    router = trace.header.router
    if router.kind == "none":
        return
    outputs = {"attention": trace.header.head_groups or 1, "ffn": trace.header.ffn_groups or 1}
    always = {"attention": router.always_on_attention, "ffn": router.always_on_ffn}
    modules = ("attention",) if router.shared else ("attention", "ffn")
    for step, count in enumerate(trace.steps.token_count.tolist()):
        for layer in range(trace.layers):
            for module in (m for m in modules if layer not in always[m]):
                hidden = _widths(trace, layer).hidden
                width = router.hidden or hidden
                if router.hidden:
                    yield Gemm(step, layer, f"{module}_router", count, router.hidden, hidden, "rows")
                yield Gemm(step, layer, f"{module}_router", count, 2 * outputs[module], width, "rows")


def _scores(trace: Trace) -> Iterator[Gemm]:
    for event in trace.events:
        if event.kind is EventKind.SCORE_OP:
            yield from _score(trace, event)
        elif event.kind is EventKind.FUSE and event.layer >= 0 and event.outcome:
            yield from _fusion(trace, event)
        elif event.kind is EventKind.DECISION_OP:
            yield Gemm(event.step, -1, "decision", 1, DECISIONS, _widths(trace, -1).hidden, "the last row")


def _score(trace: Trace, event: Event) -> Iterator[Gemm]:
    """Yield what a score adds: attention of a last token brings its query and all keys, an influence one w·v a key."""
    widths = _widths(trace, event.layer)
    at = (event.step, event.layer)
    if event.op is ScoreOp.LAST_TOKEN_ATTENTION:
        queries = widths.product("q", event.rows, widths.query, widths.hidden, "queries")
        keys = widths.product("k", event.keys, widths.kv, widths.hidden, "keys; those that stay could be used again")
        yield from (Gemm(*at, f"score_{name}", m, n, k, note) for name, m, n, k, note in (*queries, *keys))
        yield Gemm(*at, "score", event.rows * event.keys, 1, widths.query, "query × key pairs")
    elif event.op is ScoreOp.INFLUENCE:
        yield Gemm(*at, "score", event.rows * event.keys, widths.query, 1, "query × key pairs")
    elif event.op is ScoreOp.VOCABULARY_COSINE:
        yield Gemm(*at, "score", event.rows, event.keys, widths.hidden, "visual tokens")


def _fusion(trace: Trace, event: Event) -> Iterator[Gemm]:
    """Yield the module that joins a token's state and its projected feature: 2D → D → D; joining directly adds."""
    hidden, rows = _widths(trace, event.layer).hidden, event.rows
    yield Gemm(event.step, event.layer, "fuse_in", rows, hidden, 2 * hidden, "visual tokens")
    yield Gemm(event.step, event.layer, "fuse_out", rows, hidden, hidden, "visual tokens")


def _widths(trace: Trace, layer: int) -> Widths:
    """Widths of all tokens of a layer, −1 the last."""
    return width_groups(trace, layer % trace.layers)[0][1]


def _heads(trace: Trace) -> Iterator[Gemm]:
    """Yield the output head of each step, of the last row unless the trace says otherwise."""
    vocabulary, last = trace.header.shape.dimensions.vocabulary, _widths(trace, -1)
    for step, (phase, rows) in enumerate(zip(trace.steps.phase.tolist(), logit_rows(trace).tolist(), strict=True)):
        classes = SCORE_CLASSES if phase == StepPhase.SCORE else vocabulary
        yield Gemm(step, -1, "lm_head", rows, classes, last.hidden, "the last rows")
