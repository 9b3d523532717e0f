"""Small shapes and arbitrary sound traces."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from skipopu.spec.model_shape import ModelShape
from skipopu.trace import (
    Cache,
    Event,
    EventKind,
    Header,
    LayerShape,
    Provenance,
    Router,
    ScoreOp,
    Segment,
    StepPhase,
    Steps,
    Trace,
    make_trace,
)

SOURCE = Provenance("synthetic", 1, {"rho": 0.5, "layers": [0, 2]}, "a test")
TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6).filter(str.strip)


def shape(layers: int = 3, **changes: Any) -> ModelShape:
    """A shape whose every dimension differs from the others."""
    values = {
        "layers": layers,
        "hidden_size": 32,
        "intermediate_size": 96,
        "attention_heads": 4,
        "kv_heads": 2,
        "head_dim": 8,
        "vocabulary": 50,
        "tied_embeddings": True,
        "qkv_bias": False,
        "qk_norm": False,
    }
    return ModelShape.from_values("small", "a test", **(values | changes))


def header(layers: int = 3, **changes: Any) -> Header:
    """A routed header that ``changes`` adapts."""
    values: dict[str, Any] = {
        "family": "skipgpt",
        "shape": shape(layers),
        "router": Router("linear"),
        "kv_policy": "evict",
        "provenance": SOURCE,
    }
    return Header(**(values | changes))


def full(layers: int, tokens: int) -> np.ndarray:
    """Every row runs."""
    return np.ones((layers, tokens), bool)


def plain(counts: list[int], layers: int = 3, *, phases: list[int] | None = None, **changes: Any) -> Trace:
    """A trace whose rows all run, over steps of ``counts`` tokens; ``changes`` go to header or make_trace."""
    given = changes.pop("steps", None)
    steps = Steps.of(phases or [StepPhase.PREFILL] * len(counts), counts) if given is None else given
    rows = full(layers, sum(counts))
    arrays = {k: v for k, v in changes.items() if isinstance(v, np.ndarray) or k == "events"}
    top = header(layers, **{k: v for k, v in changes.items() if k not in arrays})
    return make_trace(top, steps, **({"q": rows, "kv": rows, "ffn": rows} | arrays))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Any trace: rows, groups, experts, reads, classes, masks and events drawn independently."""
    layers, counts = draw(st.integers(1, 5)), draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    tokens, steps = sum(counts), len(counts)

    def bits(*axes: int) -> np.ndarray:
        return draw(hnp.arrays(bool, axes))

    heads, channels, experts = bits(layers, tokens, 3), bits(layers, tokens, 11), bits(layers, tokens, 9)
    grouped = draw(st.booleans())
    q = heads.any(axis=2) if grouped else bits(layers, tokens)
    ffn = channels.any(axis=2) if grouped else bits(layers, tokens)
    moe, approximate, streaming = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    kinds: dict[str, Any] = {"head_groups": heads, "ffn_groups": channels} if grouped else {}
    kinds |= {"experts": experts & ffn[:, :, None]} if moe else {}
    kinds |= {"expert_scores": np.round(experts * 0.5, 3)} if moe and draw(st.booleans()) else {}
    kinds |= {"approx_rows": bits(2, layers, tokens) & ~np.stack([q, ffn])} if approximate else {}
    kinds |= {"token_ids": np.arange(tokens) % 50} if draw(st.booleans()) else {}
    return make_trace(
        header(
            layers,
            family=draw(TEXT),
            router=draw(routers(layers)),
            segments=(Segment("visual", 0, 1), *([Segment("text", 1, tokens - 1)] if tokens > 1 else [])),
            caches=(Cache(0), Cache(3, "source", draw(st.integers(0, 4)))),
            layer_shapes=(LayerShape(layers - 1, "visual", intermediate_size=48, sparsity="2:4"),),
            head_groups=3 if grouped else 0,
            ffn_groups=11 if grouped else 0,
            experts=9 if moe else 0,
        ),
        Steps.of(
            draw(st.lists(st.sampled_from(StepPhase), min_size=steps, max_size=steps)),
            counts,
            cache=[3 if streaming and i % 2 else 0 for i in range(steps)],
            arrival_seconds=draw(st.lists(st.floats(0, 1e9), min_size=steps, max_size=steps)),
            after=[draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else [] for i in range(steps)],
        ),
        q=q,
        kv=q | bits(layers, tokens),
        ffn=ffn,
        events=draw(events(steps, layers)),
        **kinds,
    )


@st.composite
def routers(draw: st.DrawFn, layers: int) -> Router:
    """Any router without always-on rows."""
    kind = draw(st.sampled_from(["none", "linear", "mlp", "bottleneck"]))
    hidden = draw(st.integers(1, 600)) if kind in ("mlp", "bottleneck") else 0
    return Router(kind, hidden, ffn_input=draw(st.sampled_from(["layer_input", "post_attention"])))


@st.composite
def events(draw: st.DrawFn, steps: int, layers: int) -> list[Event]:
    """Events that claim nothing about rows."""
    kinds = st.sampled_from([EventKind.PRUNE, EventKind.SCORE_OP, EventKind.DECISION_OP, EventKind.EXIT])
    found = []
    for step in sorted(draw(st.lists(st.integers(0, steps - 1), max_size=4))):
        layer, kind = draw(st.integers(0, layers - 1)), draw(kinds)
        fields: dict[EventKind, dict[str, Any]] = {
            EventKind.PRUNE: {"layer": layer, "rows": 4, "kept": draw(st.sampled_from([(), (0,)]))},
            EventKind.SCORE_OP: {"layer": layer, "op": ScoreOp.INFLUENCE, "rows": 1, "keys": 7, "k": 2},
            EventKind.DECISION_OP: {"outcome": draw(st.integers(0, 1))},
            EventKind.EXIT: {"layer": layer, "rows": 1},
        }
        found.append(Event(kind, step, **fields[kind]))
    return found
