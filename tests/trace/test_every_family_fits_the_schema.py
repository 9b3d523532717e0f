"""A trace of each published family, built by hand from its schedule, is sound and survives the disk."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_traces import header

from skipopu.trace import (
    Cache,
    Event,
    EventKind,
    KvSource,
    LayerShape,
    MaskClass,
    Router,
    ScoreOp,
    Segment,
    StepPhase,
    Steps,
    Trace,
    dense_like,
    keys_per_query,
    make_trace,
    read_trace,
    write_trace,
)

PREFILL, DECODE = StepPhase.PREFILL, StepPhase.DECODE
VISUAL = 576


def rows(layers: int, tokens: int) -> dict[str, np.ndarray]:
    return {kind: np.ones((layers, tokens), bool) for kind in ("q", "kv", "ffn")}


def top(family: str, layers: int, **changes: Any) -> Any:
    return header(layers, family=family, **({"router": Router(), "kv_policy": "dense"} | changes))


def vlm_segments(text: int) -> tuple[Segment, ...]:
    return (Segment("system", 0, 35), Segment("visual", 35, VISUAL), Segment("text", 35 + VISUAL, text))


def lff() -> Trace:
    """Skipped rows run a low-rank stand-in."""
    run = np.arange(24).reshape(2, 3, 4) % 3 > 0
    return make_trace(
        top("lff", 3, router=Router("mlp", 8)),
        Steps.of([PREFILL], [4]),
        q=run[0],
        kv=np.ones((3, 4), bool),
        ffn=run[1],
        approx_rows=~run,
    )


def mixture_of_depths() -> Trace:
    """Every other block routed, 1 of 8 tokens."""
    run = np.ones((4, 8), bool)
    run[1::2] = np.arange(8) == 3
    routed = Router("linear", always_on_attention=(0, 2), always_on_ffn=(0, 2), shared=True)
    return make_trace(
        top("mod", 4, router=routed, kv_policy="evict"), Steps.of([PREFILL], [8]), q=run, kv=run, ffn=run
    )


def routing_free_moe() -> Trace:
    """No expert at all is a valid choice."""
    experts = np.random.Generator(np.random.PCG64(0)).random((3, 5, 12)) < 0.1
    experts[0] = False
    scores = experts * np.float32(0.25)
    return make_trace(
        top("routing_free_moe", 3, experts=12),
        Steps.of([PREFILL], [5]),
        **rows(3, 5),
        experts=experts,
        expert_scores=scores,
    )


def static_pruning() -> Trace:
    """Depth, width, low-rank and 2:4, layer by layer."""
    run = rows(4, 6)
    for kind in run:
        run[kind][1] = False
    shapes = (
        LayerShape(1, attention_heads=0, kv_heads=0, intermediate_size=0),
        LayerShape(2, attention_heads=2, kv_heads=1, intermediate_size=48),
        LayerShape(3, rank=16),
        LayerShape(0, sparsity="2:4"),
    )
    return make_trace(top("static", 4, layer_shapes=shapes), Steps.of([PREFILL], [6]), **run)


def seer_attention() -> Trace:
    """Blocks of 16 queries × 16 keys, per KV head."""
    bits = np.random.Generator(np.random.PCG64(0)).random((2, 2, 3, 3)) < 0.5
    return make_trace(
        top("seer", 2, attention_block=(16, 16)),
        Steps.of([PREFILL], [40]),
        **rows(2, 40),
        attention_blocks=bits,
    )


def vica() -> Trace:
    """Visual K/V from the embeddings at layers S, no visual queries; the cache grows by 576 only there."""
    layers, text = 32, 9
    s = [0, 1, 7, 8, 9, 10, 11, 14]
    tokens = 35 + VISUAL + text
    run = rows(layers, tokens)
    visual = slice(35, 35 + VISUAL)
    for kind in run:
        run[kind][:, visual] = False
    run["q"][:, :35] = False
    run["kv"][s, visual] = True
    source = np.zeros(layers, int)
    source[s] = KvSource.EMBEDDING
    mask = np.where(source > 0, MaskClass.TEXT_TO_VISUAL, MaskClass.CAUSAL)
    trace = make_trace(
        top("vica", layers, segments=vlm_segments(text)),
        Steps.of([PREFILL], [tokens]),
        **run,
        kv_source=source,
        mask_class=mask,
    )
    last = keys_per_query(trace)[:, -1]
    assert set(last[s]) == {tokens}
    assert set(np.delete(last, s)) == {tokens - VISUAL}
    return trace


def hidrop() -> Trace:
    """Tok64: inserted at 8, scored and pruned at 10, 14, 16, 18, gone at 24; 64 tokens a layer on average."""
    layers, text = 32, 6
    tokens = 35 + VISUAL + text
    present = np.zeros((layers, tokens), bool)
    present[:, :35] = present[:, 35 + VISUAL :] = True
    schedule = {8: VISUAL, 10: 215, 14: 10, 16: 5, 18: 1, 24: 0}
    events = [Event(EventKind.INSERT, 0, layer=8, kept=tuple(range(35, 35 + VISUAL)))]
    for layer in range(8, layers):
        count = schedule[max(at for at in schedule if at <= layer)]
        present[layer, 35 : 35 + count] = True
    before = VISUAL
    for layer in (10, 14, 16, 18):
        k = schedule[layer]
        op = ScoreOp.LAST_TOKEN_ATTENTION
        events.append(Event(EventKind.SCORE_OP, 0, layer=layer, op=op, rows=1, keys=before, k=k))
        events.append(Event(EventKind.PRUNE, 0, layer=layer, rows=before, kept=tuple(range(35, 35 + k))))
        before = k
    events.append(Event(EventKind.EXIT, 0, layer=24, rows=1, kept=(35,)))
    trace = make_trace(
        top("hidrop", layers, segments=vlm_segments(text), position_policy="explicit"),
        Steps.of([PREFILL], [tokens]),
        q=present,
        kv=present,
        ffn=present,
        events=events,
        positions=np.arange(tokens),
    )
    assert present[:, 35 : 35 + VISUAL].sum() / layers == pytest.approx(64.0, abs=0.2)  # published
    return trace


def visipruner() -> Trace:
    """Data-dependent filter layer and exit; sink layers below."""
    layers, tokens = 8, 50
    run = rows(layers, tokens)
    kept = (37, 40)
    for kind in run:
        run[kind][4:, 35:45] = False
        run[kind][4:6, list(kept)] = True
    mask = np.asarray([MaskClass.MERGED_SINK, MaskClass.NONE] + [MaskClass.CAUSAL] * 6)
    events = [
        Event(EventKind.SCORE_OP, 0, layer=3, op=ScoreOp.INFLUENCE, rows=1, keys=10),
        Event(EventKind.PRUNE, 0, layer=4, rows=10, kept=kept),
        Event(EventKind.EXIT, 0, layer=6, rows=2, kept=kept),
    ]
    return make_trace(
        top("visipruner", layers), Steps.of([PREFILL], [tokens]), **run, events=events, mask_class=mask
    )


def embedlens() -> Trace:
    """A class per visual token, and dead ones that skip everything."""
    classes = np.arange(20) % 4
    run = rows(3, 20)
    for kind in run:
        run[kind][:, classes == 3] = False
    events = [Event(EventKind.SCORE_OP, 0, layer=0, op=ScoreOp.VOCABULARY_COSINE, rows=20, keys=50, k=1)]
    names = ("text", "alive", "sink", "dead")
    return make_trace(
        top("embedlens", 3, token_classes=names),
        Steps.of([PREFILL], [20]),
        **run,
        events=events,
        token_class=classes,
    )


def minireranker() -> Trace:
    """Prefix from the cache, an interaction band, early exit, a single score."""
    layers, tokens = 6, 12
    run = rows(layers, tokens)
    for kind in run:
        run[kind][4:] = False
    mask = np.asarray(
        [MaskClass.BAND, MaskClass.BAND, MaskClass.CAUSAL, MaskClass.CAUSAL] + [MaskClass.BAND] * 2
    )
    events = [
        Event(EventKind.PREFIX_REUSE, 0, cache=1, rows=300),
        Event(EventKind.EARLY_EXIT, 0, layer=4),
    ]
    reads = {
        "kv_read": np.asarray([[1, 0, 300]] * layers),
        "kv_read_offsets": np.arange(layers + 1),
    }
    trace = make_trace(
        top(
            "minireranker",
            layers,
            segments=(Segment("query", 0, 5), Segment("document", 5, 7)),
            caches=(Cache(0), Cache(1, "prefix", 300)),
        ),
        Steps.of([StepPhase.SCORE], [tokens]),
        **run,
        events=events,
        mask_class=mask,
        **reads,
    )
    assert keys_per_query(trace)[0, 0] == 301
    return trace


def modality_width() -> Trace:
    """MWOP: attention paths off head by head, fewer FFN channels for visual tokens."""
    paths = np.ones((3, 4, 4), bool)
    paths[:, 3, :2] = False
    shapes = tuple(LayerShape(layer, "visual", intermediate_size=32) for layer in range(3))
    return make_trace(
        top("mwop", 3, layer_shapes=shapes, segments=(Segment("visual", 0, 4), Segment("text", 4, 2))),
        Steps.of([PREFILL], [6]),
        **rows(3, 6),
        head_paths=paths,
    )


def streaming() -> Trace:
    """StreamingLLM-GPE: read 2, write 2, pop one and feed the last again; the source reads only itself."""
    counts = [3, 1, 1, 2, 1]
    phases = [StepPhase.READ, StepPhase.WRITE, StepPhase.WRITE, StepPhase.READ, StepPhase.WRITE]
    layers = 2
    listed = {0: [], 1: [(0, 0, 3)], 2: [(0, 0, 3), (1, 0, 1)], 3: [(0, 0, 3)], 4: [(0, 0, 5), (1, 0, 1)]}
    per_layer = [listed[step] for step in range(5) for _ in range(layers)]
    return make_trace(
        top("gpe", layers, caches=(Cache(0, "source"), Cache(1, "target")), position_policy="explicit"),
        Steps.of(
            phases,
            counts,
            cache=[0, 1, 1, 0, 1],
            arrival_seconds=[0.0, 0.0, 0.0, 1.5, 1.5],
            after=[[], [0], [1], [0], [2, 3]],
        ),
        **rows(layers, 8),
        events=[
            Event(EventKind.DECISION_OP, 3, outcome=1),
            Event(EventKind.KV_POP, 4, cache=1, rows=1),
        ],
        positions=np.asarray([0, 1, 2, 0, 1, 3, 4, 1]),
        kv_read=np.asarray([entry for entries in per_layer for entry in entries]),
        kv_read_offsets=np.cumsum([0, *map(len, per_layer)]),
    )


def windowed_stream() -> Trace:
    """ViCoStream: bounded local attention over chunks."""
    phases = [StepPhase.READ, StepPhase.READ, StepPhase.WRITE]
    return make_trace(
        top("vicostream", 2, segments=(Segment("frame", 0, 8), Segment("query", 8, 2))),
        Steps.of(phases, [4, 4, 2], arrival_seconds=[0, 0.1, 0.1]),
        **rows(2, 10),
        mask_class=np.asarray([MaskClass.WINDOW, MaskClass.CAUSAL]),
        mask_window=np.asarray([4, 0]),
    )


def vision_tracker() -> Trace:
    """UTPTrack: an encoder alone, pruned by attention to the template."""
    run = rows(3, 16)
    for kind in run:
        run[kind][1:, 6:] = False
    op = ScoreOp.TEMPLATE_ATTENTION
    events = [
        Event(EventKind.SCORE_OP, 0, layer=1, op=op, rows=1, keys=16, k=6),
        Event(EventKind.PRUNE, 0, layer=1, rows=16, kept=tuple(range(6))),
    ]
    return make_trace(top("utptrack", 3), Steps.of([StepPhase.ENCODE], [16]), **run, events=events)


FAMILIES = [
    lff, mixture_of_depths, routing_free_moe, static_pruning, seer_attention, vica, hidrop, visipruner,
    embedlens, minireranker, modality_width, streaming, windowed_stream, vision_tracker,
]  # fmt: skip


@pytest.mark.parametrize("build", FAMILIES, ids=lambda build: build.__name__)
def test_the_family_fits(build: Any, tmp_path: Path) -> None:
    trace = build()
    write_trace(trace, tmp_path / "t.trace")
    back = read_trace(tmp_path / "t.trace")
    assert back == trace
    assert back.header == trace.header
    assert back.events == trace.events
    summary = back.summary()
    assert all(0 <= value <= 1 for name, value in summary.items() if "skip" in name), summary
    twin = dense_like(back)
    assert twin.tokens == back.tokens
    assert twin.rows("ffn").all()


def test_a_family_with_too_much_memory_has_a_twin_without_the_bound() -> None:
    run = np.ones((2, 4), bool)
    run[1, 1:] = False
    sized = top("dllm", 2, kv_policy="evict", router=Router("mlp", 8), caches=(Cache(0, capacity=(4, 1)),))
    trace = make_trace(sized, Steps.of([PREFILL], [4]), q=run, kv=run, ffn=run)
    assert dense_like(trace).header.caches == (Cache(0),)
