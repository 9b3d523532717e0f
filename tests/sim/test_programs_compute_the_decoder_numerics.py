"""What a model's numerics say on whole matrices, its program leaves in DDR4: every logit, every decision."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from skipopu.numerics.decoder_products import Products
from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.program.numerical_run import NumericalRun, run_numerics
from skipopu.program.parameters import ModelParameters
from skipopu.program.random_parameters import random_parameters
from skipopu.sim.error import SimulationError
from skipopu.sim.functional.machine import run
from skipopu.spec.board import Board
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Header, Provenance, Router

DIMENSIONS: dict[str, Any] = {
    "layers": 3, "hidden_size": 64, "intermediate_size": 96, "attention_heads": 4, "kv_heads": 2, "head_dim": 16,
    "vocabulary": 100, "tied_embeddings": False, "qkv_bias": False, "qk_norm": False,
}  # fmt: skip
PROMPT, DECODE = 11, 5
LINEAR = {"kind": "linear", "ffn_input": "post_attention", "always_on_attention": (0,)}
GPT = {"norm": "layer", "activation": "gelu", "linear_bias": True, "learned_positions": 32}
# name → settings of the tiny overlay, dimensions, router, K/V policy
CASES: dict[str, tuple[tuple[str, ...], dict[str, Any], dict[str, Any], str]] = {
    "as shipped": ((), {}, {}, "reuse_last"),
    "row-wise, one head": (("dataflow.fused=false", "dataflow.packed_heads=1"), {}, {}, "reuse_last"),
    "FP16 sums": (("psum.format=fp16",), {}, {}, "reuse_last"),
    "narrow words": (("npe.lanes=2",), {}, {}, "reuse_last"),
    "lock step": (("kv_buffer.invalid_rounds=lock_step",), {}, {}, "reuse_last"),
    "no buffer": (("kv_buffer.enabled=false",), {}, {}, "reuse_last"),
    "dense K/V": ((), {}, {"always_on_attention": ()}, "dense"),
    "evicted K/V": ((), {}, {}, "evict"),
    "mlp routers": ((), {}, {"kind": "mlp", "hidden": 24, "ffn_input": "layer_input"}, "reuse_last"),
    "padded heads": ((), {"kv_heads": 4, "head_dim": 12}, {}, "reuse_last"),
    "GPT-2": (("npe.layer_norm=true", "npe.gelu=true"), GPT, {}, "reuse_last"),
}


def ran(case: str, seed: int = 0) -> tuple[Overlay, ModelParameters, NumericalRun]:
    settings, dimensions, router, policy = CASES[case]
    overlay, routers = Overlay.load("tiny", settings), Router(**{**LINEAR, **router})
    shape = ModelShape.from_values("small", "a test", **{**DIMENSIONS, **dimensions})
    parameters = random_parameters(shape, routers, PROMPT + DECODE, seed)
    header = Header("skipgpt", shape, routers, policy, Provenance("synthetic", seed, {}, "a test"))
    prompt = [int(n) for n in np.random.default_rng(seed).integers(0, DIMENSIONS["vocabulary"], PROMPT)]
    return overlay, parameters, run_numerics(parameters, header, overlay, Board.load("u280"), prompt, DECODE)


def differing(case: str, seed: int = 0) -> int:
    """Logits in which program and numerics differ."""
    overlay, parameters, numerics = ran(case, seed)
    program = compile_trace(numerics.trace, overlay, Board.load("u280"))
    outcome = run(program, build_image(program, parameters))
    assert np.array_equal(outcome.attention, numerics.trace.rows("q"))
    assert np.array_equal(outcome.ffn, numerics.trace.rows("ffn"))
    return int((outcome.logits != numerics.logits).sum())


@pytest.mark.parametrize("case", CASES)
def test_logits_and_decisions_are_equal(case: str) -> None:
    assert differing(case) == 0


@pytest.mark.parametrize("seed", range(1, 4))
def test_they_are_equal_for_other_models(seed: int) -> None:
    assert differing("as shipped", seed) == 0


def test_a_last_bit_in_the_numerics_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that no decision depends on: of a result of the last product."""
    right = Products.linear

    def flipped(self: Products, x: Any, layer: Any, residual: Any = None) -> Any:
        found = right(self, x, layer, residual)
        if len(layer.weights) == DIMENSIONS["vocabulary"]:
            found[-1, -1] ^= 1
        return found

    monkeypatch.setattr(Products, "linear", flipped)
    assert differing("as shipped") == 1 + DECODE


def test_another_decision_is_refused() -> None:
    overlay, parameters, numerics = ran("as shipped")
    layers = list(parameters.layers)
    router = layers[1].ffn_router
    assert router is not None
    layers[1] = replace(layers[1], ffn_router=replace(router, last=np.ascontiguousarray(router.last[::-1])))
    program = compile_trace(numerics.trace, overlay, Board.load("u280"))
    with pytest.raises(SimulationError):
        run(program, build_image(program, replace(parameters, layers=tuple(layers))))
