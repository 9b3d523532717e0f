"""Published figures of the token-skipping families, each beside the one that a trace gives.

Every figure is taken from traces: from their rows, or from the products that follow from them. What a figure is
published or reported as stands first, what is ours is compared with it at the digits that are given.
"""

import numpy as np
import pytest

from skipopu.program.macs import macs
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Header, Provenance, Router, StepPhase, Steps, Trace, make_trace
from skipopu.trace.family import generate
from skipopu.trace.gemms import Gemm, gemms, total_macs

ATTENTION, FFN, ROUTERS = ("q", "k", "v", "o"), ("gate", "up", "down"), ("attention_router", "ffn_router")
EVERY_ROUTER = ["kv_policy=dense", "always_on_attention=[]"]  # SkipGPT's public code routes layer 0 too


def dense(shape: str) -> Trace:
    return generate("dense", shape, prompt=1, decode=0)


def of(trace: Trace, *names: str) -> list[Gemm]:
    return [g for g in gemms(trace) if g.name in names]


def router_parameters(trace: Trace) -> int:
    """Weights and biases of all routers: one matrix and one bias a product of a single step."""
    assert len(trace.steps) == 1
    return sum(g.n * g.k + g.n for g in of(trace, *ROUTERS))


def skipping(shape: str, attention: float, ffn: float, kv_policy: str = "dense") -> Trace:
    """SkipGPT at exact rates: of 10 000 tokens every layer skips the same share of attention and of FFN."""
    model, tokens = ModelShape.load(shape), np.arange(10_000)
    layers = model.dimensions.layers
    q, f = (np.tile(tokens >= round(rate * 10_000), (layers, 1)) for rate in (attention, ffn))
    header = Header("skipgpt", model, Router("linear"), kv_policy, Provenance("synthetic", source="exact rates"))
    return make_trace(header, Steps.of([StepPhase.PREFILL], [10_000]), q=q, kv=q | (kv_policy == "dense"), ffn=f)


def projections_saved(trace: Trace) -> float:
    """Share of the projections' multiplications that a trace leaves out."""
    full = trace.tokens * total_macs(gemms(dense(trace.header.shape.name)), *ATTENTION, *FFN)
    return 1 - total_macs(gemms(trace), *ATTENTION, *FFN) / full


@pytest.mark.parametrize(
    ("family", "knobs", "parameters", "percent"),
    [
        ("skipgpt", EVERY_ROUTER, 524_416, 0.0078),  # paper: linear, "0.007 %"
        ("skipgpt", [*EVERY_ROUTER, "router=mlp", "router_hidden=1024"], 268_632_192, 3.99),  # code: D/4
        ("dynamic_m", [], 4_197_504, 0.062),  # PruningInferSim: D → 16 → 2
    ],
)
def test_routers_of_llama2_7b(family: str, knobs: list[str], parameters: int, percent: float) -> None:
    trace = generate(family, "llama2-7b", prompt=1, decode=0, knobs=knobs)
    assert router_parameters(trace) == parameters
    share = 100 * parameters / trace.header.shape.parameters
    assert share == pytest.approx(percent, rel=0.01)


def test_skipgpts_mlp_routers_take_4_percent_of_a_layer() -> None:
    knobs = [*EVERY_ROUTER, "router=mlp", "router_hidden=1024"]
    trace = generate("skipgpt", "llama2-7b", prompt=1, decode=0, knobs=knobs)
    layer = sum(g.macs for g in of(trace, *ROUTERS) if g.layer == 5)
    assert layer == 8_392_704  # published as 8.39 M
    assert layer / (67_108_864 + 135_266_304) == pytest.approx(0.041, abs=0.0005)


@pytest.mark.parametrize(
    ("shape", "attention", "ffn", "kv_kib"),
    [
        ("llama2-7b", 67.1, 135.3, 512), ("llama2-13b", 104.9, 212.3, 800), ("llama3.1-8b", 41.9, 176.2, 128),
        ("llama3.2-3b", 25.2, 75.5, 112), ("qwen2.5-7b", 29.4, 203.7, 56), ("qwen2.5-3b", 9.4, 67.6, 36),
        ("qwen3-1.7b", 12.6, 37.7, 112), ("qwen3-4b", 26.2, 74.7, 144), ("qwen3-8b", 41.9, 151.0, 144),
        ("qwen3-14b", 62.9, 267.4, 160), ("mobilellama-2.7b", 26.2, 53.1, 320),
    ],
)  # fmt: skip
def test_a_token_of_the_dense_model(shape: str, attention: float, ffn: float, kv_kib: int) -> None:
    trace = dense(shape)
    layers = trace.layers
    assert total_macs(gemms(trace), *ATTENTION) / layers / 1e6 == pytest.approx(attention, abs=0.05)
    assert total_macs(gemms(trace), *FFN) / layers / 1e6 == pytest.approx(ffn, abs=0.05)
    assert sum(g.m * g.n for g in of(trace, "k", "v")) * 2 == kv_kib * 1024  # FP16


def test_a_layer_of_llama2_7b_to_the_last_multiplication() -> None:
    trace = dense("llama2-7b")
    assert sum(g.macs for g in of(trace, *ATTENTION) if g.layer == 0) == 67_108_864
    assert sum(g.macs for g in of(trace, *FFN) if g.layer == 0) == 135_266_304


@pytest.mark.parametrize(("shape", "parameter_skip"), [("llama2-7b", 28.60), ("llama3.1-8b", 27.65)])
def test_what_skipgpt_skips_at_30_percent(shape: str, parameter_skip: float) -> None:
    summary = skipping(shape, 0.3319, 0.2633).summary()
    assert 100 * summary["module_skip"] == pytest.approx(29.76, abs=1e-9)
    assert 100 * summary["parameter_skip"] == pytest.approx(parameter_skip, abs=0.005)


def test_keeping_the_keys_of_skipped_tokens_costs_skipgpt_a_fifth_of_its_gain() -> None:
    assert 100 * projections_saved(skipping("llama2-7b", 0.3319, 0.2633)) == pytest.approx(23.1, abs=0.05)
    reused = skipping("llama2-7b", 0.3319, 0.2633, "evict")  # projects no K/V either
    assert 100 * projections_saved(reused) == pytest.approx(28.60, abs=0.005)


@pytest.mark.parametrize(("shape", "saved"), [("llama2-7b", 50.0), ("llama3.1-8b", 80.0), ("qwen2.5-7b", 87.5)])
def test_skipping_attention_with_dense_keys_saves_queries_and_outputs(shape: str, saved: float) -> None:
    none, all_of_it = (skipping(shape, rate, 0.0) for rate in (0.0, 1.0))
    left = total_macs(gemms(all_of_it), *ATTENTION) / total_macs(gemms(none), *ATTENTION)
    assert 100 * (1 - left) == pytest.approx(saved, abs=1e-9)


@pytest.mark.parametrize(("family", "point"), [("skipgpt30", (33.19, 26.33)), ("wide", (66.2, 28.5))])
def test_generated_traces_meet_the_reported_rates(family: str, point: tuple[float, float]) -> None:
    summary = generate(family, prompt=128, decode=1024).summary()
    for key, reported in zip(("attention_skip_routed", "ffn_skip_routed"), point, strict=True):
        assert 100 * summary[key] == pytest.approx(reported, abs=0.6)


def test_wide_saves_queries_outputs_and_channels_of_what_it_skips() -> None:
    trace = generate("wide", prompt=64, decode=64)
    heads, channels = trace.array("head_groups"), trace.array("ffn_groups")
    assert heads is not None
    assert channels is not None
    full, part = gemms(dense("llama3.1-8b")), gemms(trace)
    for names, share in ((("q", "o"), heads.mean()), (("k", "v"), 1.0), (FFN, channels.mean())):
        assert total_macs(part, *names) == pytest.approx(share * trace.tokens * total_macs(full, *names), rel=1e-12)


def test_wide_routers_have_two_logits_a_group() -> None:
    trace = generate("wide", prompt=1, decode=0)
    sizes = {(g.name, g.n, g.k) for g in of(trace, *ROUTERS)}
    a, f = ROUTERS
    assert sizes == {(a, 16, 4096), (a, 2 * 8, 16), (f, 16, 4096), (f, 2 * 14336 // 128, 16)}


def test_dllm_saves_what_its_authors_claim() -> None:
    """45 to 50 % of compute and K/V; two of 32 layers always on leave 46.9 % of the projections."""
    trace = generate("dllm", prompt=128, decode=1024)
    summary = trace.summary()
    assert 100 * projections_saved(trace) == pytest.approx(46.9, abs=0.4)
    for key in ("mac_skip", "kv_byte_skip"):
        assert 0.45 <= summary[key] <= 0.50
    router = [g for g in of(trace, *ROUTERS) if g.step == 0 and g.layer == 2]
    assert [(g.name, g.n, g.k) for g in router] == [("attention_router", 512, 4096), ("attention_router", 2, 512)]


@pytest.mark.parametrize("family", ["dllm", "mod"])
def test_a_router_that_two_modules_share_is_counted_once(family: str) -> None:
    """The compiler's count, from row masks, is that of the products."""
    trace = generate(family, prompt=16, decode=8)
    assert int(macs(trace).sum()) == total_macs(gemms(trace))


def test_mod_runs_9_of_16_token_layers() -> None:
    """Capacity 12.5 % in every other block."""
    trace = generate("mod", prompt=1024, decode=0)
    assert trace.rows("ffn").mean() == (1 + 0.125) / 2
    assert projections_saved(trace) == 1 - 9 / 16


def test_a_stand_in_of_lff_and_its_router() -> None:
    trace = generate("lff", prompt=64, decode=0)
    rows = trace.array("approx_rows")
    assert rows is not None
    approximations = [g for g in gemms(trace) if "approximation" in g.name]
    assert sum(g.macs for g in approximations) == rows.sum() * 819_200  # 0.82 M
    routers = sum(g.macs for g in of(trace, *ROUTERS))
    assert routers == 2 * trace.layers * trace.tokens * 3_376_752  # 3.38 M


def test_experts_of_routing_free_moe() -> None:
    trace = generate("routing_free_moe", prompt=64, decode=0)
    bits = trace.array("experts")
    assert bits is not None
    scored = 11 * trace.tokens  # all layers but the first
    assert total_macs(gemms(trace), "expert_score") == scored * 98_304  # 98.3 k
    active = total_macs(gemms(trace), "expert_gate", "expert_up", "expert_down")
    assert active == bits.sum() * 133_120  # 133.1 k
    assert total_macs(gemms(trace), *FFN) == trace.tokens * 3 * 512 * 2048  # the dense first layer


def test_attention_is_a_third_of_llama2_and_an_eighth_of_qwen() -> None:
    for shape, share in (("llama2-7b", 0.332), ("llama3.1-8b", 0.192), ("qwen2.5-7b", 0.126)):
        products = gemms(dense(shape))
        attention, ffn = total_macs(products, *ATTENTION), total_macs(products, *FFN)
        assert attention / (attention + ffn) == pytest.approx(share, abs=0.0005)
