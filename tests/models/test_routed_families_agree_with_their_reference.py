"""Every routed family: the executing path equals the masked reference, decode equals prefill, a trace replays."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from routed_models import (
    ALL,
    CAUSAL,
    DECODE,
    DECODER,
    PROMPT,
    backbone,
    counted_macs,
    exported,
    fed,
    ids,
    in_steps,
    ready,
)

from skipopu.models.decisions import Decisions
from skipopu.models.dllm import Dllm, DllmConfig
from skipopu.models.dynamic_m import Bernoulli, DynamicM
from skipopu.models.export import shape_of
from skipopu.models.lff import Lff, LffConfig
from skipopu.models.mod import MixtureOfDepths, ModConfig
from skipopu.models.routed_decoder import RoutedDecoder
from skipopu.models.routing_free_moe import MoeConfig, RoutingFreeMoe
from skipopu.models.run import Run
from skipopu.models.wide import Wide, WideConfig
from skipopu.spec.error import SpecError
from skipopu.trace import StepPhase, Trace, read_trace, write_trace
from skipopu.trace.gemms import gemms, total_macs

EXACT = {"rtol": 0.0, "atol": 1e-11}
PARTS = ("approx_rows", "head_groups", "ffn_groups", "experts")


def same_rows(one: Trace, other: Trace) -> bool:
    arrays = [(one.array(name), other.array(name)) for name in PARTS if name in one.arrays or name in other.arrays]
    rows = [(one.rows(kind), other.rows(kind)) for kind in ("q", "kv", "ffn")]  # type: ignore[arg-type]
    return all(np.array_equal(a, b) for a, b in rows + arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("seed", [1])
def test_executed_rows_alone_give_the_logits_of_the_masked_reference(name: str, seed: int) -> None:
    model, trace = exported(name, seed)
    tokens = fed(trace)
    logits, _ = in_steps(model, tokens, PROMPT)
    torch.testing.assert_close(logits, model(tokens, prompt=PROMPT), **EXACT)
    assert tokens[PROMPT:].tolist() == logits[PROMPT - 1 : -1].argmax(-1).tolist()  # greedy


@pytest.mark.parametrize("name", CAUSAL)
def test_token_by_token_equals_all_at_once(name: str) -> None:
    model = CAUSAL[name][0](2)
    tokens = ids(PROMPT + DECODE, 7)
    at_once, whole = in_steps(model, tokens, len(tokens))
    one_by_one, steps = in_steps(model, tokens, 1)
    torch.testing.assert_close(one_by_one, at_once, **EXACT)
    for kind in ("q", "kv", "ffn"):
        np.testing.assert_array_equal(steps.recorder.rows(kind), whole.recorder.rows(kind))


@pytest.mark.parametrize("name", ALL)
def test_a_trace_replays_to_the_same_rows_and_logits(name: str) -> None:
    model, trace = exported(name)
    logits, _ = in_steps(model, fed(trace), PROMPT)
    _, again = exported(name, decisions=Decisions.of(trace))
    assert same_rows(again, trace)
    replayed, _ = in_steps(model, fed(trace), PROMPT, Decisions.of(trace))
    torch.testing.assert_close(replayed, logits, rtol=0, atol=0)


@pytest.mark.parametrize("name", [n for n in CAUSAL if n not in ("routing_free_moe",) and "static" not in n])
def test_foreign_decisions_are_obeyed(name: str) -> None:
    _, foreign = exported(name, seed=1)
    model = CAUSAL[name][0](3)
    logits, run = in_steps(model, fed(foreign), PROMPT, Decisions.of(foreign))
    np.testing.assert_array_equal(run.recorder.rows("q"), foreign.rows("q"))
    np.testing.assert_array_equal(run.recorder.rows("ffn"), foreign.rows("ffn"))
    torch.testing.assert_close(logits, model(fed(foreign), Decisions.of(foreign)), **EXACT)
    own, _ = in_steps(model, fed(foreign), PROMPT)
    assert not torch.allclose(own, logits)


@pytest.mark.parametrize("name", ALL)
def test_the_products_derived_from_a_trace_are_those_that_were_multiplied(name: str) -> None:
    model, trace = exported(name)
    with counted_macs() as found:
        in_steps(model, fed(trace), PROMPT)
    products = [g for g in gemms(trace) if g.name not in ("scores", "values", "lm_head")]
    expected = total_macs(products)
    if name == "mod":  # one score, where a linear router of the schema has two logits
        expected -= total_macs(products, "attention_router") // 2
    assert found[0] == expected


@pytest.mark.parametrize("name", ALL)
def test_a_trace_says_where_it_comes_from_and_survives_its_file(name: str, tmp_path: object) -> None:
    _, trace = exported(name)
    assert trace.header.family == name.split()[0].removesuffix("_drops")
    assert trace.header.provenance.kind == "synthetic"  # random weights
    assert trace.header.provenance.source == "a test"
    assert trace.header.shape.dimensions == shape_of(DECODER, "tiny", "a test").dimensions
    assert trace.steps.phase.tolist() == [StepPhase.PREFILL] + [StepPhase.DECODE] * DECODE
    write_trace(trace, f"{tmp_path}/t.trace")
    assert read_trace(f"{tmp_path}/t.trace") == trace


@st.composite
def models(draw: st.DrawFn) -> RoutedDecoder:
    """Any small model of any family that routes."""
    kv, shared = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = {"kv_heads": kv, "attention_heads": kv * shared, "layers": draw(st.integers(1, 4))}
    llama = backbone(0, replace(DECODER, **sizes, qkv_bias=draw(st.booleans()), qk_norm=draw(st.booleans())))
    rate = draw(st.sampled_from([0.0, 0.3, 1.0]))
    build = draw(
        st.sampled_from(
            [
                lambda: Dllm(llama, DllmConfig(7, draw(st.integers(1, 5)), draw(st.integers(0, 3)))),
                lambda: MixtureOfDepths(llama, ModConfig(draw(st.floats(0.01, 1)), draw(st.integers(1, 3)))),
                lambda: Wide(llama, WideConfig(3, kv, draw(st.sampled_from([1, 3, 16, 48])))),
                lambda: Lff(llama, LffConfig(3, 4, draw(st.sampled_from([0.0, 0.2, math.inf])))),
                lambda: DynamicM(llama, Bernoulli(rate, 1 - rate)),
                lambda: RoutingFreeMoe(llama, MoeConfig(3, 5, 2, 0.5, draw(st.integers(0, 2)))),
            ]
        )
    )
    return ready(build(), draw(st.integers(0, 99)))


@settings(max_examples=30, deadline=None)
@given(models(), st.integers(1, 8), st.integers(0, 4))
def test_any_small_model_equals_its_reference(model: RoutedDecoder, prompt: int, decode: int) -> None:
    tokens = ids(prompt + decode)
    logits, _ = in_steps(model, tokens, prompt)
    torch.testing.assert_close(logits, model(tokens, prompt=prompt), **EXACT)


@pytest.mark.parametrize(
    ("prompt", "decode", "message"),
    [([], 1, "prompt has no tokens"), ([1], -1, "decode = -1"), ([61], 1, r"prompt token 61; .*0\.\.60")],
)
def test_bad_requests_are_refused(prompt: list[int], decode: int, message: str) -> None:
    build, export = CAUSAL["dllm"]
    with pytest.raises(SpecError, match=message):
        export(build(0), prompt, decode, name="tiny", source="a test")


def test_a_cache_without_entries_cannot_be_read() -> None:
    with pytest.raises(LookupError, match="layer 2 has no entries"):
        Run(4).cache.read(2)
