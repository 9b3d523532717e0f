"""A decoder in the overlay's numerics against float64, layer by layer on the overlay's own inputs."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from decoder_oracle import Oracle, real, router_margin
from numpy.typing import NDArray

from skipopu.numerics.decoder import ATTENTION, FFN, Decoder, Output
from skipopu.numerics.decoder_cache import KvCache
from skipopu.numerics.decoder_parameters import Routing
from skipopu.numerics.decoder_products import Products
from skipopu.program.parameters import ModelParameters
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Router

UNIT = 2.0**-11  # the largest relative error of a rounding to FP16
# Roundings of a module's contribution, each counted in full: norm; q or k, its turn; score, as often as it is large;
# probability; v; context; output. Norm; gate; SiLU; up; product; down. The truncated products of the PE array cost
# less than what counting in full leaves over: errors are measured at an eighth of what is allowed.
OF_ATTENTION, OF_FFN, OF_HEAD = 7, 6, 2
TOKENS, DECODED, BLOCK = 21, 5, 4
DIMENSIONS = {
    "layers": 3, "hidden_size": 64, "intermediate_size": 96, "attention_heads": 4, "kv_heads": 2, "head_dim": 16,
    "vocabulary": 100, "tied_embeddings": False, "qkv_bias": False, "qk_norm": False,
}  # fmt: skip
GPT = {"norm": "layer", "activation": "gelu", "linear_bias": True, "learned_positions": 64}
LINEAR = {"kind": "linear", "ffn_input": "post_attention", "always_on_attention": (0,)}


@dataclass(frozen=True)
class Case:
    """A model and an overlay."""

    dimensions: Any = ()
    router: Any = ()
    policy: str = "reuse_last"
    overlay: str = "tiny"
    settings: tuple[str, ...] = ()

    def machine(self) -> Overlay:
        return Overlay.load(self.overlay, self.settings)

    def routing(self) -> Routing:
        router = self._router()
        return Routing(self.policy, router.ffn_input, router.kind)

    def _router(self) -> Router:
        return Router(**({**LINEAR, **dict(self.router)}))

    def model(self, seed: int = 0) -> ModelParameters:
        shape = ModelShape.from_values("small", "a test", **{**DIMENSIONS, **dict(self.dimensions)})
        kinds = self.machine().datatypes
        return random_parameters(shape, self._router(), 2 * TOKENS, seed, kinds.weights, kinds.lm_head)


WIDE = {"hidden": 24}
CASES = {
    "tiny": Case(),
    "the published overlay": Case(overlay="skipopu-u280"),
    "whole products": Case(settings=("pe_array.product_bits=22", "pe_array.alignment_rounding=nearest")),
    "row-wise": Case(settings=("dataflow.fused=false",)),
    "one head at a time": Case(settings=("dataflow.packed_heads=1",)),
    "narrow words": Case(settings=("npe.lanes=2",)),
    "interleaved map": Case(settings=("kv_buffer.map=interleaved", "kv_buffer.enabled=false")),
    "no buffer": Case(settings=("kv_buffer.enabled=false",)),
    "small buffer": Case(settings=("kv_buffer.capacity_bytes=1024", "kv_buffer.invalid_rounds=lock_step")),
    "fp16 weights": Case(settings=("datatypes.weights=fp16", "datatypes.lm_head=fp16")),
    "no routers": Case(router={"kind": "none", "ffn_input": "layer_input", "always_on_attention": ()}, policy="dense"),
    "dense K/V": Case(policy="dense", router={"always_on_attention": ()}),
    "evicted K/V": Case(policy="evict"),
    "mlp routers": Case(router={"kind": "mlp", **WIDE}),
    "bottleneck routers of the layer's input": Case(router={"kind": "bottleneck", "ffn_input": "layer_input", **WIDE}),
    "padded heads, one query each": Case(dimensions={"kv_heads": 4, "head_dim": 12}),
    "long heads, biases": Case(dimensions={"head_dim": 48, "qkv_bias": True}),
    "GPT-2": Case(dimensions=GPT, settings=("npe.layer_norm=true", "npe.gelu=true")),
    "OPT": Case(dimensions={**GPT, "activation": "relu"}, settings=("npe.layer_norm=true",)),
}


def ids(seed: int = 0, count: int = TOKENS) -> list[int]:
    return [int(n) for n in np.random.default_rng(seed).integers(0, DIMENSIONS["vocabulary"], count)]


def run(case: Case, seed: int = 0, block: int = BLOCK, decoded: int = DECODED, **more: Any) -> Output:
    """Prefill, then decode; all steps as one."""
    decoder = Decoder(case.machine(), case.model(seed), case.routing(), TOKENS, block)
    text, first = ids(seed), TOKENS - decoded
    gates = more.get("gates")
    outputs = [decoder.prefill(text[:first], all_rows=True, gates=None if gates is None else gates[:, :, :first])]
    for n in range(first, TOKENS):
        outputs.append(decoder.decode(text[n], gates=None if gates is None else gates[:, :, n : n + 1]))
    return joined(outputs)


def joined(outputs: list[Output]) -> Output:
    return Output(
        np.concatenate([o.logits for o in outputs]), np.concatenate([o.hidden for o in outputs], axis=1),
        np.concatenate([o.decided for o in outputs], axis=2), np.concatenate([o.executed for o in outputs], axis=2),
    )  # fmt: skip


def length(x: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(x))


def excess(case: Case, output: Output, seed: int = 0) -> float:
    """Largest error of a layer, or of the logits, in units of its bound."""
    oracle, hidden, found = Oracle(case.model(seed), case.routing()), real(output.hidden), []
    for index, (x, out) in enumerate(pairwise(hidden)):
        exact = oracle.layer(index, x, output.executed[ATTENTION, index], output.executed[FFN, index])
        streams = length(exact.middle) + length(exact.out)
        attention = (OF_ATTENTION + exact.largest_score) * length(exact.middle - x)
        bound = streams + attention + OF_FFN * length(exact.out - exact.middle)
        found.append(length(out - exact.out) / (UNIT * bound))
    logits = oracle.logits(hidden[-1])
    found.append(length(real(output.logits) - logits) / (UNIT * OF_HEAD * length(logits)))
    return max(found)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_layer_is_within_its_roundings(case: Case) -> None:
    assert excess(case, run(case)) <= 1


@pytest.mark.parametrize("case", [c for c in CASES.values() if c.router != CASES["no routers"].router])
def test_decisions_are_those_of_the_exact_logits_unless_these_are_close(case: Case) -> None:
    output, model = run(case), case.model()
    routers = [(n, layer.attention_router) for n, layer in enumerate(model.layers) if layer.attention_router]
    for index, router in routers:
        margin = router_margin(router, case.routing().router, real(output.hidden[index]))
        clear = np.abs(margin) > 8 * UNIT * np.abs(margin).max()
        assert np.array_equal(output.decided[ATTENTION, index][clear], (margin > 0)[clear])
        assert clear.mean() > 0.8
        assert 0 < output.decided[ATTENTION, index].mean() < 1
    assert output.decided[ATTENTION, 0].all() == (model.layers[0].attention_router is None)


@pytest.mark.parametrize("seed", range(4))
def test_reused_entries_are_those_of_the_last_executed_layer(seed: int) -> None:
    """Dense K/V would differ: the oracle that reuses agrees, one that does not is far off."""
    case = CASES["tiny"]
    output = run(case, seed)
    assert not output.executed[ATTENTION, 1:].all()
    assert excess(case, output, seed) <= 1
    assert excess(Case(policy="dense"), output, seed) > 1


def test_prescribed_gates_are_executed_and_the_decisions_still_shown() -> None:
    case = CASES["tiny"]
    gates = np.random.default_rng(1).random((2, 3, TOKENS)) < 0.5
    gates[ATTENTION, 0] = True
    output = run(case, gates=gates)
    assert np.array_equal(output.executed, gates)
    assert not np.array_equal(output.decided, gates)
    assert excess(case, output) <= 1


def test_router_biases_decide() -> None:
    """A bias of FP16's largest number makes every token execute, or none."""
    for sign, expected in ((1, True), (-1, False)):
        bias = np.array([sign * 65504, 0], np.float16).view(np.uint16)
        model = CASES["tiny"].model()
        router = model.layers[1].attention_router
        object.__setattr__(router, "last_bias", bias)
        found = Products(CASES["tiny"].machine(), 1e-5).decisions(model.embedding, router, "linear")
        assert (found == expected).all()


RIGHT = Products.linear


def _linear(products: Products, x: Any, layer: Any, residual: Any, scales: Any = None) -> Any:
    scales = layer.scales if scales is None else np.ascontiguousarray(scales)
    return RIGHT(products, x, SimpleNamespace(weights=layer.weights, scales=scales, bias=layer.bias), residual)


FAULTS = {
    "scales in another order": lambda p, x, m, r: _linear(p, x, m, r, scales=m.scales[::-1]),
    "the residual is missing": lambda p, x, m, r: _linear(p, x, m, None),
    "the residual is subtracted": lambda p, x, m, r: _linear(p, x, m, None if r is None else r ^ 0x8000),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_in_products_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Products, "linear", lambda self, x, m, residual=None: FAULTS[fault](self, x, m, residual))
    assert excess(CASES["tiny"], run(CASES["tiny"])) > 1


def test_planted_faults_in_the_cache_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = KvCache.append

    def own_layer_always(self: KvCache, layer: int, tokens: Any, own: Any, keys: Any, values: Any) -> None:
        right(self, layer, tokens, own, keys, values)
        self.place.source[layer, tokens] = 0

    monkeypatch.setattr(KvCache, "append", own_layer_always)
    assert excess(CASES["tiny"], run(CASES["tiny"])) > 1


def test_a_sequence_beyond_its_room_is_refused() -> None:
    case = CASES["tiny"]
    decoder = Decoder(case.machine(), case.model(), case.routing(), 4, BLOCK)
    with pytest.raises(SpecError, match="room for 4 of 4"):
        decoder.prefill(ids())
    with pytest.raises(SpecError, match="have 42 positions"):
        Decoder(case.machine(), case.model(), case.routing(), 43, BLOCK)
