"""Multiply-accumulates: token by token, and against the published size of a layer."""

import numpy as np
import pytest
from small_programs import CASES, trace

from skipopu.program.macs import macs, router_macs
from skipopu.spec.ledger import Phase
from skipopu.trace import StepPhase, Trace, synthesize

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
    return found


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
