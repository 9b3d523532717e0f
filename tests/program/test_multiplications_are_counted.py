"""Multiply-accumulates: token by token, and against the published size of a layer."""

import numpy as np
import pytest
from family_traces import family_trace
from hypothesis import given
from hypothesis import strategies as st
from pruned_models import cut, dense, model, pruned
from small_programs import CASES, trace

from skipopu.program.macs import head_macs, macs, router_macs
from skipopu.spec.ledger import Phase
from skipopu.trace import EventKind, LayerShape, ScoreOp, StepPhase, Trace, synthesize
from skipopu.trace.gemms import gemms, total_macs

ATTENTION, FFN = 67_108_864, 135_266_304  # a layer of Llama-2-7B, one token


def naive(trace: Trace) -> list[int]:
    """Every product of every token of every layer, one after another."""
    d, router, source = trace.header.shape.dimensions, trace.header.router, trace.kv_source_layers()
    always = {"attention": router.always_on_attention, "ffn": router.always_on_ffn}
    found, step_of = [0] * len(Phase), np.repeat(np.arange(len(trace.steps)), trace.steps.token_count)
    for token in range(trace.tokens):
        total = 0
        for layer in range(d.layers):
            for module in always if router.kind != "none" else ():
                if layer not in always[module]:
                    wide = router.kind != "linear"
                    total += d.hidden_size * router.hidden + router.hidden * 2 if wide else d.hidden_size * 2
            if trace.rows("kv")[layer, token]:
                total += 2 * d.hidden_size * d.kv_heads * d.head_dim  # K, V
            if trace.rows("q")[layer, token]:
                total += 2 * d.hidden_size * d.attention_heads * d.head_dim  # Q, O
                keys = sum(source[layer, key] >= 0 for key in range(token + 1))
                total += int(keys) * d.attention_heads * d.head_dim * 2  # scores, context
            if trace.rows("ffn")[layer, token]:
                total += 3 * d.hidden_size * d.intermediate_size
        decoding = trace.steps.phase[step_of[token]] == StepPhase.DECODE
        last = token + 1 == trace.tokens or step_of[token + 1] != step_of[token]
        found[Phase.DECODE if decoding else Phase.PREFILL] += total + (
            d.hidden_size * d.vocabulary if last else 0
        )
    found[Phase.PREFILL] += naive_scores(trace)
    return found


def naive_scores(trace: Trace) -> int:
    """Every product of every score that an image token gets in a prefill from the prompt's last token."""
    d, total = trace.header.shape.dimensions, 0
    image = [t for s in trace.header.segments if s.type == "visual" for t in range(s.first, s.first + s.count)]
    for event in trace.events:
        if event.kind is not EventKind.SCORE_OP:
            continue
        attends = event.op is ScoreOp.LAST_TOKEN_ATTENTION  # to the tokens that the layer before left
        there = [t for t in image if trace.rows("q")[event.layer - attends, t]]
        if attends:
            total += d.hidden_size * d.attention_heads * d.head_dim
        for _ in there:
            total += d.hidden_size * d.kv_heads * d.head_dim if attends else 0
            total += d.attention_heads * d.head_dim
    return total


@pytest.mark.parametrize("name", CASES)
def test_the_count_is_that_of_every_token_and_layer(name: str) -> None:
    of = trace(**CASES[name][0])
    assert macs(of).tolist() == naive(of)


def test_a_dense_token_of_llama2_7b() -> None:
    of = synthesize("dense", "llama2-7b", prompt=5, decode=1)
    prefill, decode = macs(of).tolist()
    head, attend = 32000 * 4096, 2 * 4096
    assert decode == 32 * (ATTENTION + FFN + 6 * attend) + head
    assert prefill == 32 * (5 * (ATTENTION + FFN) + (1 + 2 + 3 + 4 + 5) * attend) + head


def test_linear_routers_of_llama2_7b_have_their_published_size() -> None:
    """524,416 parameters are 64 routers of 4096 × 2 weights and 2 biases; a token multiplies the weights."""
    of = synthesize("skipgpt", "llama2-7b", prompt=1, decode=0, kv_policy="dense", always_on_attention=())
    assert router_macs(of) == 524_416 - 64 * 2


def test_what_is_skipped_is_not_counted() -> None:
    of = trace(skip=1.0, always_on_attention=(), kv_policy="evict", prompt=4, decode=2)
    assert macs(of).tolist() == [4 * router_macs(of) + 6400, 2 * (router_macs(of) + 6400)]


@pytest.mark.parametrize("name", ["llava", "hidrop", "visipruner"])
def test_scores_of_image_tokens_are_counted(name: str) -> None:
    of = family_trace(name)
    assert macs(of).tolist() == naive(of)
    assert (naive_scores(of) > 0) == (name != "llava")
    assert macs(of).sum() == total_macs(gemms(of))


def test_scores_of_a_pruned_layer_are_those_of_what_is_left() -> None:
    """Half of the heads, a quarter of the stream: the score's query and keys shrink with them."""
    whole = family_trace("hidrop")
    shapes = [LayerShape(n, hidden_size=24, attention_heads=2, kv_heads=2) for n in range(whole.layers)]
    left = cut(whole, *shapes)
    assert macs(left).sum() == total_macs(gemms(left)) < macs(whole).sum()


@given(left=st.integers(8, 64), lacks=st.sampled_from(["nothing", "attention", "ffn", "both"]))
def test_the_head_is_as_deep_as_the_stream_that_is_left(left: int, lacks: str) -> None:
    """Whatever the last layer lacks."""
    gone = {"attention_heads": 0, "kv_heads": 0} if lacks in ("attention", "both") else {}
    gone |= {"intermediate_size": 0} if lacks in ("ffn", "both") else {}
    of = cut(dense(model()), *(LayerShape(n, hidden_size=left, **(gone if n == 2 else {})) for n in range(3)))
    assert total_macs(gemms(of), "lm_head") == head_macs(of).sum() == len(of.steps) * left * 100


def test_a_head_behind_a_cut_of_the_family_is_as_deep_as_the_cut() -> None:
    of = pruned("hidden", 0.25)
    assert total_macs(gemms(of), "lm_head") == head_macs(of).sum() == len(of.steps) * 48 * 100
