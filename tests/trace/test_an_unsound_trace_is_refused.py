"""Every rule of the schema turns down the trace that breaks it, and names the place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_traces import full, header, plain, shape

from skipopu.spec.error import SpecError
from skipopu.trace import (
    Cache,
    Event,
    EventKind,
    LayerShape,
    MaskClass,
    Provenance,
    Router,
    ScoreOp,
    Segment,
    StepPhase,
    Steps,
    dense_like,
    make_trace,
)

P = StepPhase.PREFILL


def hole(layer: int, token: int, layers: int = 3, tokens: int = 4) -> np.ndarray:
    """All rows but one."""
    rows = full(layers, tokens)
    rows[layer, token] = False
    return rows


def steps(**changes: Any) -> Steps:
    """Two steps of 2 tokens with columns replaced by hand."""
    good = Steps.of([P, P], [2, 2])
    return Steps.from_columns(good.columns() | changes)


def kv_read(*ranges: tuple[int, int, int], at: int) -> dict[str, np.ndarray]:
    """Reads of one step and layer out of 2 × 3."""
    return {
        "kv_read": np.asarray(ranges).reshape(-1, 3),
        "kv_read_offsets": (np.arange(7) > at) * len(ranges),
    }


def make(**changes: Any) -> None:
    plain([2, 2], **changes)


CASES: list[tuple[dict[str, Any], str]] = [
    # steps
    ({"logit_rows": np.asarray([1, 3])}, "step 1: logit_rows = 3; must be in 0..2, the rows of the step"),
    ({"logit_rows": np.asarray([-1, 0])}, "step 0: logit_rows = -1; must be in 0..2"),
    ({"steps": Steps.of([], [])}, "the trace has no steps"),
    ({"steps": steps(step_phase=np.asarray([1, 9], np.uint8))}, "step 1: phase = 9; expected 0..5"),
    ({"steps": Steps.of([P, P], [4, 0])}, "step 1: token_count = 0; expected at least 1"),
    ({"steps": Steps.of([P, P], [5, -1])}, "step 1: token_count = -1; expected at least 1"),
    ({"steps": steps(step_first_token=np.asarray([0, 3], np.int32))}, "step 1: first_token = 3"),
    ({"steps": Steps.of([P, P], [2**31 - 1, 1])}, "the steps hold 2147483648 tokens"),
    ({"steps": Steps.of([P, P], [2, 2], arrival_seconds=[0, -1])}, "step 1: arrival_seconds = -1.0"),
    ({"steps": Steps.of([P, P], [2, 2], arrival_seconds=[np.inf, 0])}, "step 0: arrival_seconds = inf"),
    (
        {"steps": Steps.of([P, P], [2, 2], after=[[], [1]])},
        "step 1 waits for step 1; expected an earlier one",
    ),
    ({"steps": Steps.of([P, P], [2, 2], after=[[-1], []])}, "step 0 waits for step -1"),
    (
        {"steps": steps(step_after_offsets=np.asarray([0, 1, 0]))},
        "'step_after_offsets' must rise from 0 to 1",
    ),
    ({"steps": Steps.of([P, P], [2, 2], cache=[0, 4])}, "appends to cache 4; the header has 0"),
    # arrays
    ({"q": full(3, 5)}, "'rows_q' is bool [3, 5]; expected bool, last axis 4"),
    ({"q": full(2, 4)}, "'rows_q' has 2 along layers; expected 3"),
    ({"q": full(3, 4).astype(int)}, "'rows_q' is int64 [3, 4]; expected bool"),
    ({"colour": full(3, 4)}, "array 'colour' is not in schema 1"),
    ({"step_phase": np.zeros(2)}, "array 'step_phase' belongs to the trace's steps"),
    ({"token_ids": np.asarray([0, 1, 2, 2**40])}, "'token_ids' holds values that int32 does not"),
    # tokens
    ({"token_ids": np.asarray([0, 1, 2, 50])}, "token_ids span 0..50; the vocabulary has 0..49"),
    ({"token_ids": np.asarray([0, -1, 2, 3])}, "token_ids span -1..3"),
    ({"token_class": np.asarray([0, 1, 0, 0]), "token_classes": ("dead",)}, "token_class holds 1"),
    ({"positions": np.arange(4)}, "position_policy = 'sequential'"),
    ({"position_policy": "explicit"}, "position_policy = 'explicit'"),
    ({"position_policy": "explicit", "positions": np.arange(4) - 1}, "positions reach down to -1"),
    ({"segments": (Segment("text", 2, 3),)}, "segment text spans 2+3"),
    ({"segments": (Segment("text", 0, 2), Segment("visual", 1, 2))}, "segment visual spans 1+2"),
    # rows
    ({"kv": hole(1, 2)}, "layer 1, token 2: its query runs but its K/V row does not"),
    (
        {"kv_policy": "reuse_last", "q": hole(0, 3), "kv": hole(0, 3)},
        "layer 0, token 3: kv_policy reuse_last has nothing to reuse; execute layer 0",
    ),
    (
        {"kv_policy": "dense", "q": hole(2, 0), "kv": hole(2, 0)},
        "layer 2, token 0: its K/V row is skipped under kv_policy dense",
    ),
    ({"router": Router("linear", always_on_attention=(1,)), "q": hole(1, 1)}, "layer 1, token 1: its q row"),
    ({"router": Router("linear", always_on_ffn=(2,)), "ffn": hole(2, 0)}, "layer 2, token 0: its ffn row"),
    ({"router": Router("linear", always_on_tokens=2), "ffn": hole(2, 1)}, "layer 2, token 1: its ffn row"),
    ({"family": "dense", "router": Router(), "ffn": hole(2, 3)}, "layer 2, token 3: its ffn row is skipped"),
    ({"family": "dense"}, "family dense has a linear router"),
    (
        {"router": Router("linear", shared=True, ffn_input="post_attention")},
        "router.shared decides at the layer's input",
    ),
    # groups
    (
        {"head_groups": np.ones((3, 4, 2), bool)},
        "'head_groups' is bool [3, 4, 2]; expected bool, last axis 0",
    ),
    ({"ffn_groups": np.zeros((3, 4, 2), bool)}, "last axis 0"),
    ({"experts": np.ones((3, 4, 2), bool)}, "last axis 0"),
    (
        {"approx_rows": np.ones((2, 3, 4), bool), "ffn": hole(0, 0)},
        "layer 0, token 0: attention runs and is approximated",
    ),
    (
        {"approx_rows": np.stack([~full(3, 4), full(3, 4)])},
        "layer 0, token 0: the FFN runs and is approximated",
    ),
    ({"attention_block": (2, 2)}, "header.attention_block and the array 'attention_blocks' come together"),
    # layers
    ({"mask_class": np.asarray([0, 6, 0])}, "array 'mask_class' holds 6; expected 0..5"),
    ({"kv_source": np.asarray([0, 2, 0])}, "array 'kv_source' holds 2; expected 0..1"),
    ({"mask_class": np.asarray([0, MaskClass.WINDOW, 0])}, "mask_window must be positive"),
    ({"mask_window": np.asarray([0, 8, 0])}, "mask_window must be positive"),
    ({"mask_window": np.asarray([0, -8, 0])}, "mask_window must be positive"),
    # caches
    ({"kv_read": np.asarray([[0, 0, 1]])}, "'kv_read_offsets' and 'kv_read' come together"),
    (kv_read((0, 0, 3), at=3), "kv_read of step 1 spans 0+3 of cache 0; it holds 2"),
    (kv_read((0, 0, 1), at=0), "kv_read of step 0 spans 0+1 of cache 0; it holds 0"),
    (kv_read((0, -1, 1), at=3), "kv_read of step 1 spans -1+1"),
    (kv_read((0, 0, 0), at=3), "kv_read of step 1 spans 0+0"),
    (kv_read((7, 0, 1), at=3), "cache 7; the header has no such cache"),
    ({"caches": (Cache(0, capacity=(4, 3, 4)),)}, "step 1 fills layer 1 of cache 0 with 4 entries"),
    ({"caches": (Cache(0, prefix_hit=1, capacity=(4, 4, 4)),)}, "fills layer 0 of cache 0 with 5 entries"),
    # events
    ({"events": [Event(EventKind.KV_POP, 1, cache=0, rows=3)]}, "takes 1 entries more than cache 0 holds"),
    ({"events": [Event(EventKind.PREFIX_REUSE, 0, cache=0, rows=1)]}, "reuses 1 entries; cache 0 has 0"),
    ({"events": [Event(EventKind.KV_POP, 2, cache=0, rows=1)]}, "step must be in 0..1"),
    ({"events": [Event(EventKind.KV_POP, 1, cache=2, rows=1)]}, "cache must be one of 0"),
    ({"events": [Event(EventKind.KV_POP, 1, rows=1)]}, "event kv_pop at step 1: cache is missing"),
    ({"events": [Event(EventKind.KV_POP, 1, cache=0, rows=-1)]}, "rows = -1; must be in 0..2147483647"),
    ({"events": [Event(EventKind.KV_POP, 1, cache=0, rows=1, k=2)]}, "k means nothing here"),
    ({"events": [Event(EventKind.EXIT, 1, layer=3, rows=1)]}, "layer must be in -1..2"),
    ({"events": [Event(EventKind.DECISION_OP, 0, outcome=2)]}, "outcome must be in -1..1"),
    ({"events": [Event(EventKind.DECISION_OP, 0)]}, "outcome is missing"),
    ({"events": [Event(EventKind.SCORE_OP, 0, layer=1, rows=1, keys=4)]}, "op is missing"),
    ({"events": [Event(EventKind.PRUNE, 0, layer=1, rows=1, kept=(0, 1))]}, "keeps 2 of 1 tokens"),
    ({"events": [Event(EventKind.PRUNE, 0, layer=1, rows=4, kept=(1, 0))]}, "kept must be token numbers in"),
    ({"events": [Event(EventKind.PRUNE, 0, layer=1, rows=4, kept=(4,))]}, "0..3"),
    (
        {"events": [Event(EventKind.EARLY_EXIT, 1, layer=0), Event(EventKind.EARLY_EXIT, 0, layer=0)]},
        "follows one at step 1; expected events in order",
    ),
    ({"events": [Event(EventKind.EARLY_EXIT, 1, layer=2)]}, "rows run at or above layer 2"),
    ({"events": [Event(EventKind.INSERT, 0, layer=1, kept=(2,))]}, "inserted tokens run below layer 1"),
]


@pytest.mark.parametrize(("changes", "told"), CASES)
def test_a_broken_rule_is_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        make(**changes)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


GROUPS: list[tuple[dict[str, Any], str]] = [
    ({"head_groups": np.ones((3, 4, 2), bool), "q": hole(1, 2)}, "layer 1, token 2: head_groups and the row"),
    ({"ffn_groups": np.zeros((3, 4, 2), bool)}, "layer 0, token 0: ffn_groups and the row disagree"),
    ({"experts": np.ones((3, 4, 2), bool), "ffn": hole(2, 2)}, "layer 2, token 2: experts run but the ffn"),
    ({"experts": np.ones((3, 4, 2), bool), "expert_scores": np.full((3, 4, 2), np.inf)}, "must be finite"),
]


@pytest.mark.parametrize(("changes", "told"), GROUPS)
def test_groups_and_rows_agree(changes: dict[str, Any], told: str) -> None:
    widths = {name: 2 for name in changes if name in ("head_groups", "ffn_groups", "experts")}
    arrays = {"q": full(3, 4), "kv": full(3, 4), "ffn": full(3, 4)} | changes
    with pytest.raises(SpecError) as caught:
        make_trace(header(**widths), Steps.of([P, P], [2, 2]), **arrays)
    assert told in str(caught.value)


RECORDS: list[tuple[Callable[[], object], str]] = [
    (lambda: Router("linear", 4), "router.hidden of a linear router = 4; must be in 0..0; nearest: 0"),
    (lambda: Router("mlp"), "router.hidden of a mlp router = 0; must be in 1..65536; nearest: 1"),
    (lambda: Router("gru"), "router.kind = 'gru'; expected one of none, linear, mlp, bottleneck"),
    (lambda: Router(always_on_ffn=(0,)), "router.kind = 'none' holds nothing always on"),
    (lambda: Router("linear", always_on_ffn=(1, 0)), "expected layers in rising order, e.g. [0, 1]"),
    (lambda: Router("linear", attention_input="post_attention"), "expected one of layer_input"),
    (lambda: header(router=Router("linear", always_on_ffn=(3,))), "must be in 0..2; nearest: 2"),
    (lambda: header(layer_shapes=(LayerShape(3),)), "layer_shape.layer = 3; must be in 0..2"),
    (lambda: LayerShape(0, kv_heads=-1), "layer_shape.kv_heads = -1; must be in 0..262144; nearest: 0"),
    (lambda: header(caches=()), "caches have ids []; expected at least one"),
    (lambda: header(caches=(Cache(1), Cache(1))), "caches have ids [1, 1]"),
    (lambda: header(caches=(Cache(1, capacity=(3,)),)), "capacity has 1 layers; expected 3"),
    (lambda: header(attention_block=(0, 2)), "attention_block = 0; must be in 1..65536; nearest: 1"),
    (lambda: Cache(0, capacity=(-1,)), "cache.capacity = -1; must be in 0..2147483647; nearest: 0"),
    (lambda: Provenance("synthetic", 2**70, source="x"), "provenance.seed = "),
    (lambda: header(attention_block=(2,)), "expected (query rows, keys)"),
    (lambda: header(dtypes={"weights": "int4"}), "missing key dtypes.activations"),
    (lambda: header(schema=2), "schema = 2; this version reads 1"),
    (lambda: header(family=" "), "family is empty"),
    (lambda: Segment("image", 0, 1), "segment.type = 'image'; expected one of system"),
    (lambda: Segment("text", 0, 0), "segment.count = 0; must be in 1..2147483647; nearest: 1"),
    (lambda: Segment("text", 0, 1.5), "segment.count = 1.5; expected a whole number"),  # type: ignore[arg-type]
    (lambda: Provenance("measured"), "provenance.source is empty"),
    (lambda: Provenance("synthetic", 1, {"rho": float("nan")}, "x"), "provenance.knobs.rho = nan"),
    (lambda: Provenance("synthetic", 1, {"rho": {"a": 1}}, "x"), "provenance.knobs.rho = {'a': 1}"),
]


@pytest.mark.parametrize(("record", "told"), RECORDS)
def test_a_bad_record_cannot_be_made(record: Callable[[], object], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        record()
    assert told in str(caught.value)


def test_what_events_explain_is_sound() -> None:
    rows = full(3, 4)
    rows[2:, 2:] = False
    explained = [
        Event(EventKind.SCORE_OP, 1, layer=1, op=ScoreOp.INFLUENCE, rows=1, keys=2),
        Event(EventKind.EARLY_EXIT, 1, layer=2),
    ]
    trace = plain([2, 2], q=rows, kv=rows, ffn=rows, kv_policy="dense", events=explained)
    assert dense_like(trace).rows("q").all()
    assert not dense_like(trace).events


def test_one_layer_and_one_token_are_enough() -> None:
    one = full(1, 1)
    trace = make_trace(header(shape=shape(1)), Steps.of([StepPhase.SCORE], [1]), q=one, kv=one, ffn=one)
    assert trace.tokens == trace.layers == 1
