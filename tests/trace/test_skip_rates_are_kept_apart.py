"""Module, parameter, multiplication and K/V-byte skip are different figures; each against its own count."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from small_traces import plain, shape, traces

from skipopu.spec.model_shape import ModelShape
from skipopu.trace import StepPhase, Trace, keys_per_query, make_trace, synthesize
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms
from skipopu.trace.summary import parameter_skip

REPORTED = (0.3319, 0.2633)  # SkipGPT at target 30 %


@pytest.mark.parametrize(("shape", "wanted"), [("llama2-7b", 0.2860), ("llama3.1-8b", 0.2765)])
def test_the_published_skip_rates_give_the_golden_parameter_skip(shape: str, wanted: float) -> None:
    assert parameter_skip(ModelShape.load(shape), *REPORTED) == pytest.approx(wanted, abs=5e-5)


def test_a_trace_with_the_published_rates_reports_them() -> None:
    """10 000 tokens in each of 32 layers, of which exactly 33.19 % and 26.33 % skip."""
    base = synthesize("bernoulli", "llama2-7b", prompt=10000, decode=0)
    token = np.arange(10000)
    q, ffn = (np.broadcast_to(token >= round(rate * 10000), (32, 10000)) for rate in REPORTED)
    summary = make_trace(base.header, base.steps, q=q, kv=np.ones((32, 10000), bool), ffn=ffn).summary()
    assert summary["attention_skip"] == pytest.approx(0.3319)
    assert summary["ffn_skip"] == pytest.approx(0.2633)
    assert round(100 * summary["module_skip"], 2) == 29.76
    assert round(100 * summary["parameter_skip"], 2) == 28.60
    assert summary["kv_byte_skip"] == 0


def naive_macs(trace: Trace, *, dense: bool) -> float:
    """Multiply-accumulates of projections, scores and FFN, matrix by matrix and row by row."""
    d = trace.header.shape.dimensions
    heads, groups = trace.array("head_groups"), trace.array("ffn_groups")
    keys = keys_per_query(trace)
    total = 0.0
    for layer in range(trace.layers):
        for token in range(trace.tokens):
            attend = (
                1
                if dense
                else float(trace.rows("q")[layer, token] if heads is None else heads[layer, token].mean())
            )
            project = 1 if dense else int(trace.rows("kv")[layer, token])
            feed = (
                1
                if dense
                else float(trace.rows("ffn")[layer, token] if groups is None else groups[layer, token].mean())
            )
            wide, narrow = d.attention_heads * d.head_dim, d.kv_heads * d.head_dim
            seen = token + 1 if dense else int(keys[layer, token])
            total += attend * (d.hidden_size * wide + wide * d.hidden_size)  # Q, O
            total += attend * d.attention_heads * seen * 2 * d.head_dim  # QKᵀ, PV
            total += project * 2 * d.hidden_size * narrow  # K, V
            total += feed * 3 * d.hidden_size * d.intermediate_size  # gate, up, down
    return total


def unpruned(trace: Trace) -> Trace:
    return Trace(replace(trace.header, layer_shapes=()), trace.steps, trace.arrays, trace.events)


@pytest.mark.parametrize("kind", ["depth", "block", "width", "hidden", "low_rank", "2:4"])
def test_static_pruning_skips_what_its_products_lack(kind: str) -> None:
    dense, cut = generate("dense", shape(4), 5, 2), generate("static", shape(4), 5, 2, knobs=[f"kind={kind}"])
    run, full = (sum(g.macs for g in gemms(trace) if g.layer >= 0) for trace in (cut, dense))
    assert cut.summary()["mac_skip"] == pytest.approx(1 - run / full)
    weights = [sum(g.n * g.k for g in gemms(t) if g.step == 1 and g.k > 1 and g.n > 1) for t in (cut, dense)]
    head = cut.header.shape.dimensions.vocabulary * 32
    cut_head = head // 2 if kind == "hidden" else head
    assert cut.summary()["parameter_skip"] == pytest.approx(1 - (weights[0] - cut_head) / (weights[1] - head))


@settings(max_examples=40)
@given(traces().filter(lambda t: not t.steps.cache.any() and StepPhase.ENCODE not in t.steps.phase).map(unpruned))
def test_skipped_multiplications_are_counted_one_by_one(trace: Trace) -> None:
    wanted = 1 - naive_macs(trace, dense=False) / naive_macs(trace, dense=True)
    assert trace.summary()["mac_skip"] == pytest.approx(wanted, abs=1e-12)


def test_a_layer_of_llama2_has_the_golden_macs() -> None:
    shape = ModelShape.load("llama2-7b")
    assert (shape.attention_weights, shape.ffn_weights) == (67_108_864, 135_266_304)


@pytest.mark.parametrize(
    ("shape", "wanted"), [("llama2-7b", 0.5), ("llama3.1-8b", 0.8), ("qwen2.5-7b", 0.875)]
)
def test_dense_kv_saves_only_query_and_output(shape: str, wanted: float) -> None:
    """Golden: the share of the projection work saved where all attention is skipped under a dense cache."""
    model = ModelShape.load(shape)
    trace = synthesize("bernoulli", model, prompt=1, decode=0, attention_skip=1.0, ffn_skip=0.0)
    scores = 2 * model.query_size  # one key, nothing read when skipped
    saved = trace.summary()["mac_skip"] * (model.attention_weights + model.ffn_weights + scores) - scores
    assert saved / model.attention_weights == pytest.approx(wanted)
    assert trace.summary()["kv_byte_skip"] == 0


def test_reuse_saves_all_of_attention_and_its_bytes() -> None:
    trace = synthesize("skipgpt", "llama2-7b", prompt=50, decode=0, attention_skip=1.0, ffn_skip=0.0)
    summary = trace.summary()
    assert summary["kv_byte_skip"] == summary["attention_skip"] == pytest.approx(31 / 32)


def test_tokens_are_counted_by_phase() -> None:
    phases = [StepPhase.ENCODE, StepPhase.READ, StepPhase.WRITE, StepPhase.SCORE, StepPhase.DECODE]
    summary = plain([3, 2, 4, 5, 1], phases=phases).summary()
    assert (summary["tokens"], summary["prompt_tokens"], summary["decode_tokens"], summary["steps"]) == (
        15,
        10,
        5,
        5,
    )


def test_groups_count_by_their_share() -> None:
    heads = np.zeros((3, 4, 4), bool)
    heads[:, :, 0] = True
    base = plain([4])
    rows = base.rows("q")
    wide = replace(base.header, head_groups=4)
    summary = make_trace(wide, base.steps, q=rows, kv=rows, ffn=rows, head_groups=heads).summary()
    assert summary["attention_skip"] == 0.75
