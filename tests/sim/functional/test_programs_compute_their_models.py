"""On the functional machine a program leaves the logits, decisions and K/V of its model, in every bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import LINEAR, Case, made, outcome

from skipopu.program.image_kv import read_vector
from skipopu.trace import Router

ROW_WISE = ("dataflow.fused=false", "dataflow.packed_heads=1")
UNITS = ("npe.layer_norm=true", "npe.gelu=true")
TOGETHER = Router(kind="linear", ffn_input="layer_input", always_on_attention=(0,))
MLP = Router(kind="mlp", hidden=24, ffn_input="layer_input", always_on_attention=(0,))
BOTTLENECK = Router(kind="bottleneck", hidden=24, ffn_input="post_attention", always_on_attention=(0, 2))
PADDED = (("attention_heads", 8), ("kv_heads", 4), ("head_dim", 20), ("hidden_size", 72), ("intermediate_size", 40))
GPT2 = (
    ("norm", "layer"), ("activation", "gelu"), ("linear_bias", True), ("learned_positions", 32),
    ("hidden_size", 72), ("intermediate_size", 40),
)  # fmt: skip
WIDE = (("hidden_size", 192), ("intermediate_size", 320), ("head_dim", 128), ("vocabulary", 300))
CASES = {
    "fused": Case(),
    "row_wise": Case(ROW_WISE),
    "row_wise_packed": Case(ROW_WISE[:1]),
    "one_head": Case(ROW_WISE[1:]),
    "layer_input": Case(router=TOGETHER),
    "row_wise_layer_input": Case(ROW_WISE, router=TOGETHER),
    "kv_dense": Case(policy="dense", router=Router(kind="linear", ffn_input="post_attention")),
    "row_wise_kv_dense": Case(ROW_WISE, policy="dense", router=TOGETHER),
    "kv_evict": Case(policy="evict", router=Router(kind="linear", ffn_input="post_attention")),
    "no_router": Case(router=Router()),
    "mlp": Case(router=MLP),
    "row_wise_mlp": Case(ROW_WISE, router=MLP),
    "bottleneck": Case(router=BOTTLENECK),
    "always_on": Case(router=Router(kind="linear", always_on_attention=(0, 1), always_on_ffn=(0, 2))),
    "padded": Case(dimensions=PADDED),
    "row_wise_padded": Case(ROW_WISE, dimensions=PADDED),
    "four_pairs": Case(dimensions=(("attention_heads", 8), ("kv_heads", 8), ("head_dim", 32))),
    "biases": Case(dimensions=(("qkv_bias", True),)),
    "gpt2": Case(UNITS, dimensions=GPT2),
    "row_wise_gpt2": Case((*UNITS, *ROW_WISE), dimensions=GPT2),
    "opt": Case((), dimensions=(("activation", "relu"), ("linear_bias", True), ("learned_positions", 32))),
    "fp16_weights": Case(("datatypes.weights=fp16", "datatypes.lm_head=fp16")),
    "small_constants": Case(("constants.half_bytes=512",)),
    "wide_array": Case(("pe_array.columns=64",)),
    "narrow_words": Case(("npe.lanes=4",)),
    "long_rows": Case(("pe_array.dot_length=32", "npe.lanes=8")),
    "many_ports": Case(("dma.hbm_ports=8",)),
    "three_ports": Case(("dma.hbm_ports=3",)),
    "no_buffer": Case(("kv_buffer.enabled=false",)),
    "lock_step": Case(("kv_buffer.invalid_rounds=lock_step",)),
    "fp16_sums": Case(("psum.format=fp16", "pe_array.alignment_rounding=nearest")),
    "published_machine": Case(dimensions=WIDE, machine="skipopu-u280"),
    "published_machine_row_wise": Case(ROW_WISE, dimensions=WIDE, machine="skipopu-u280"),
    "several_prompts": Case(steps=(5, 1, 9, 1, 1)),
    "one_token": Case(steps=(1, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_the_model(name: str) -> None:
    found, case = outcome(CASES[name]), made(CASES[name])
    assert np.array_equal(found.logits, case.logits)
    assert np.isfinite(found.logits.view(np.float16)).all()


@pytest.mark.parametrize("name", CASES)
def test_decisions_are_those_of_the_model(name: str) -> None:
    found, direct = outcome(CASES[name]), made(CASES[name]).direct
    assert np.array_equal(found.attention, direct.ran["attention"])
    assert np.array_equal(found.ffn, direct.ran["ffn"])
    layers, tokens = direct.bits.shape
    assert np.array_equal(found.state.bitmask[:layers, :tokens], direct.bits)


@pytest.mark.parametrize("name", CASES)
def test_every_executed_token_has_its_k_and_v_in_hbm(name: str) -> None:
    found, case = outcome(CASES[name]), made(CASES[name])
    for layer, bits in enumerate(case.direct.bits):
        for entry, token in enumerate(np.flatnonzero(bits)):
            for value, wanted in enumerate((case.direct.k, case.direct.v)):
                read = read_vector(found.image.hbm, case.program.context, layer, value, entry)
                assert np.array_equal(read, wanted[layer, token])


def test_the_cases_skip_and_execute() -> None:
    """Or they would show little: some rows of both kinds, in prefill and in decode."""
    for name in ("fused", "kv_dense", "mlp", "bottleneck", "padded"):
        for ran in made(CASES[name]).direct.ran.values():
            for steps in (ran[:, :13], ran[:, 13:]):
                assert 0.1 < steps[1:].mean() < 0.95, name


@settings(max_examples=12)
@given(
    seed=st.integers(0, 2**16), prompt=st.integers(2, 20), decode=st.integers(0, 6), fused=st.booleans(),
    packed=st.integers(1, 2), ports=st.integers(1, 6), together=st.booleans(),
)  # fmt: skip
def test_any_routing_gives_the_models_logits(
    seed: int, prompt: int, decode: int, fused: bool, packed: int, ports: int, together: bool
) -> None:
    settings_ = (
        f"dataflow.fused={str(fused).lower()}", f"dataflow.packed_heads={packed}", f"dma.hbm_ports={ports}",
    )  # fmt: skip
    steps = (prompt, *[1] * decode)
    case = Case(settings_, seed=seed, steps=steps, router=TOGETHER if together else LINEAR)
    assert np.array_equal(outcome(case).logits, made(case).logits)
