"""The products derived from a trace, against counts made by hand and against formulas kept elsewhere."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_traces import full, header, plain, shape

from skipopu.program.macs import macs
from skipopu.spec.error import SpecError
from skipopu.trace import (
    Event,
    EventKind,
    LayerShape,
    Provenance,
    Router,
    ScoreOp,
    Segment,
    StepPhase,
    Steps,
    Trace,
    make_trace,
    synthesize,
)
from skipopu.trace.gemms import Gemm, gemms, total_macs

D, M, HEADS, KV_HEADS, HEAD, V = 32, 96, 4, 2, 8, 50
UNROUTED = {"router": Router(), "kv_policy": "dense"}


def one(tokens: int = 6, layers: int = 1, **changes: Any) -> Trace:
    """One prefill of an unrouted model."""
    return plain([tokens], layers, **(UNROUTED | changes))


def of(trace: Trace, *names: str) -> list[Gemm]:
    return [g for g in gemms(trace) if g.name in names]


def test_a_dense_prefill_and_a_decode_step() -> None:
    trace = plain([3, 1], 1, phases=[StepPhase.PREFILL, StepPhase.DECODE], **UNROUTED)
    by_hand = []
    for step, (rows, keys) in enumerate([(3, 1 + 2 + 3), (1, 4)]):
        by_hand += [(step, 0, "q", rows, 32, D), (step, 0, "k", rows, 16, D), (step, 0, "v", rows, 16, D)]
        by_hand += [(step, 0, "o", rows, D, 32), (step, 0, "gate", rows, M, D), (step, 0, "up", rows, M, D)]
        by_hand += [(step, 0, "down", rows, D, M), (step, 0, "scores", keys * HEADS, 1, HEAD)]
        by_hand += [(step, 0, "values", keys * HEADS, HEAD, 1), (step, -1, "lm_head", 1, V, D)]
    assert [(g.step, g.layer, g.name, g.m, g.n, g.k) for g in gemms(trace)] == by_hand


@given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 9), st.sampled_from(["dense", "skipgpt25"]))
def test_the_sum_is_that_of_the_compiler(prompt: int, decode: int, seed: int, family: str) -> None:
    trace = synthesize(family, shape(), prompt=prompt, decode=decode, seed=seed)
    assert total_macs(gemms(trace)) == int(macs(trace).sum())


def test_a_skipped_row_leaves_only_its_keys() -> None:
    q, ffn = full(1, 4), full(1, 4)
    q[0, 1] = ffn[0, 2:] = False
    products = {g.name: g for g in gemms(one(4, q=q, ffn=ffn))}
    assert (products["q"].m, products["k"].m, products["up"].m) == (3, 4, 2)
    assert products["scores"].m == (1 + 3 + 4) * HEADS


def test_groups_count_as_rows_of_their_own_width() -> None:
    heads, channels = np.zeros((1, 2, 2), bool), np.zeros((1, 2, 8), bool)
    heads[0, 0, 0] = heads[0, 1, :] = True
    channels[0, 1, :3] = True
    trace = make_trace(
        header(1, head_groups=2, ffn_groups=8, **UNROUTED), Steps.of([StepPhase.PREFILL], [2]),
        q=heads.any(2), kv=full(1, 2), ffn=channels.any(2), head_groups=heads, ffn_groups=channels,
    )  # fmt: skip
    found = {g.name: (g.m, g.n, g.k) for g in gemms(trace)}
    assert found["q"] == (3, 16, D)
    assert found["o"] == (3, D, 16)
    assert found["up"] == (3, 12, D)
    assert found["scores"] == (1 * 2 + 2 * 4, 1, HEAD)  # one key × half the heads, two keys × all


def test_static_shapes_narrow_a_layer_split_it_or_halve_it() -> None:
    shapes = (LayerShape(0, attention_heads=2, kv_heads=1, intermediate_size=48), LayerShape(1, rank=4))
    ranks = LayerShape(3, ranks=(1, 2, 3, 4, 5, 6, 7))
    trace = one(2, 4, layer_shapes=(*shapes, LayerShape(2, sparsity="2:4"), ranks))
    found = {(g.layer, g.name): (g.m, g.n, g.k) for g in gemms(trace)}
    assert (found[0, "q"], found[0, "k"], found[0, "down"]) == ((2, 16, D), (2, 8, D), (2, D, 48))
    assert found[0, "scores"] == (3 * 2, 1, HEAD)
    assert (found[1, "up_in"], found[1, "up_out"]) == ((2, 4, D), (2, M, 4))
    assert found[2, "down"] == (2, D, M // 2)
    assert [found[3, f"{m}_in"][1] for m in ("q", "k", "v", "o", "gate", "up", "down")] == [1, 2, 3, 4, 5, 6, 7]


def test_a_pruned_residual_stream_narrows_the_output_head() -> None:
    trace = one(2, layer_shapes=(LayerShape(0, hidden_size=16),))
    assert [(g.m, g.n, g.k) for g in gemms(trace) if g.name in ("q", "down", "lm_head")] == [
        (2, 32, 16), (2, 16, M), (1, V, 16),
    ]  # fmt: skip


def test_widths_may_differ_between_modalities() -> None:
    trace = one(
        segments=(Segment("visual", 0, 4), Segment("text", 4, 2)),
        layer_shapes=(LayerShape(0, "visual", intermediate_size=24), LayerShape(0, attention_heads=2, kv_heads=2)),
    )
    assert sorted((g.m, g.n) for g in of(trace, "up")) == [(2, M), (4, 24)]
    assert {g.n for g in of(trace, "q")} == {16}  # the whole layer's, also for visual tokens


def test_low_rank_stand_ins_are_two_products() -> None:
    q, bits = full(1, 3), np.zeros((2, 1, 3), bool)
    q[0, 1:] = False
    bits[0, 0, 1:] = True
    trace = one(3, q=q, approx_rows=bits, provenance=Provenance("synthetic", 0, {"rank": 5}, "a test"))
    assert [(g.name, g.m, g.n, g.k) for g in gemms(trace) if "approximation" in g.name] == [
        ("attention_approximation_in", 2, 5, D),
        ("attention_approximation_out", 2, D, 5),
    ]


def test_a_stand_in_of_unknown_rank_is_refused() -> None:
    bits = np.zeros((2, 1, 3), bool)
    bits[1] = True
    trace = one(3, ffn=~bits[1], approx_rows=bits)
    with pytest.raises(SpecError, match=r"provenance.knobs.rank = None"):
        gemms(trace)


def test_every_token_is_scored_by_every_expert_and_runs_the_active_ones() -> None:
    bits = np.zeros((1, 3, 6), bool)
    bits[0, 0, :2] = bits[0, 2, 5] = True
    knobs = {"expert_rank": 4, "expert_size": 10}
    trace = make_trace(
        header(1, experts=6, provenance=Provenance("synthetic", 0, knobs, "a test"), **UNROUTED),
        Steps.of([StepPhase.PREFILL], [3]), q=full(1, 3), kv=full(1, 3), ffn=full(1, 3), experts=bits,
    )  # fmt: skip
    assert [(g.name, g.m, g.n, g.k) for g in gemms(trace) if "expert" in g.name] == [
        ("expert_score", 18, 4, D), ("expert_gate", 3, 10, 4), ("expert_up", 3, 10, D), ("expert_down", 3, D, 10),
    ]  # fmt: skip
    assert of(trace, "up", "gate", "down") == []


def test_first_layers_of_a_mixture_may_have_an_ordinary_ffn() -> None:
    bits = np.zeros((2, 3, 6), bool)
    bits[1, :, 0] = True
    knobs = {"expert_rank": 4, "expert_size": 10, "dense_layers": 1}
    trace = make_trace(
        header(2, experts=6, provenance=Provenance("synthetic", 0, knobs, "a test"), **UNROUTED),
        Steps.of([StepPhase.PREFILL], [3]), q=full(2, 3), kv=full(2, 3), ffn=full(2, 3), experts=bits,
    )  # fmt: skip
    assert {g.layer for g in of(trace, "up", "gate", "down")} == {0}
    assert {g.layer for g in gemms(trace) if "expert" in g.name} == {1}


def test_block_masks_leave_out_pairs() -> None:
    bits = np.zeros((1, KV_HEADS, 2, 2), bool)
    bits[0, 0, :, 0] = bits[0, 1, 1, 1] = True
    trace = one(4, attention_block=(2, 2), attention_blocks=bits)
    # head 0: rows 0..3 see 1, 2, 2, 2 keys of block 0; head 1: rows 2, 3 see 1, 2 of block 1; two query heads each
    assert [g.m for g in of(trace, "scores")] == [(7 + 3) * 2]


def test_head_paths_leave_out_pairs() -> None:
    paths = np.ones((1, 4, HEADS), bool)
    paths[0, 3, :3] = False  # visual → visual runs one head
    trace = one(4, segments=(Segment("visual", 0, 3), Segment("text", 3, 1)), head_paths=paths)
    assert [g.m for g in of(trace, "scores")] == [(1 + 2 + 3) * 1 + 4 * HEADS]


def test_scores_cost_what_their_kind_says() -> None:
    def score(op: ScoreOp) -> list[tuple[str, int]]:
        event = Event(EventKind.SCORE_OP, 0, layer=0, op=op, rows=2, keys=7)
        products = gemms(one(8, events=[event]))
        return [(g.name, g.macs) for g in products if g.name in ("score_q", "score_k", "score")]

    assert score(ScoreOp.LAST_TOKEN_ATTENTION) == [
        ("score_q", 2 * 32 * D), ("score_k", 7 * 16 * D), ("score", 2 * 7 * 32),
    ]  # fmt: skip
    assert score(ScoreOp.INFLUENCE) == [("score", 2 * 7 * 32)]
    assert score(ScoreOp.VOCABULARY_COSINE) == [("score", 2 * 7 * D)]
    assert score(ScoreOp.TEMPLATE_ATTENTION) == score(ScoreOp.EMBEDDER_ATTENTION) == []


def test_routers_of_every_kind_are_counted() -> None:
    linear = plain([3], 1, router=Router("linear"))
    assert [(g.m, g.n, g.k) for g in of(linear, "ffn_router")] == [(3, 2, D)]
    hidden = plain([3], 2, router=Router("mlp", 8, always_on_attention=(0,)))
    assert [(g.layer, g.n, g.k) for g in of(hidden, "attention_router")] == [(1, 8, D), (1, 2, 8)]


def test_a_score_needs_two_rows_of_the_output_head_and_an_encoder_none() -> None:
    assert [g.n for g in of(plain([3], 1, phases=[StepPhase.SCORE], **UNROUTED), "lm_head")] == [2]
    encoder = plain([3], 1, phases=[StepPhase.ENCODE], **UNROUTED)
    assert of(encoder, "lm_head") == []
    assert [g.m for g in of(encoder, "scores")] == [3 * 3 * HEADS]
