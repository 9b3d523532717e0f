"""A checkpoint's numbers in the overlay's formats: the same model, with pairs of q and k where the NPE turns them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_model import DECODER, tiny_model, tokens

from skipopu.models.config import RopeScaling, SkipConfig
from skipopu.models.overlay_parameters import header_of, overlay_parameters
from skipopu.models.quantization import QuantisedModel, quantise
from skipopu.models.rotary import rotation
from skipopu.program.numerical_run import run_numerics
from skipopu.program.parameters import Linear, ModelParameters
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

LENGTH = 12


def quantised(skip: SkipConfig | None = None, **changes: object) -> QuantisedModel:
    model = tiny_model(skip or SkipConfig(), config=replace(DECODER, **changes))  # type: ignore[arg-type]
    return quantise(model.float(), "rtn")


def numbers(of: QuantisedModel) -> ModelParameters:
    return overlay_parameters(of, LENGTH, name="tiny", source="a test")


def real(bits: NDArray[np.uint16]) -> NDArray[np.float64]:
    return bits.view(np.float16).astype(np.float64)


def product(linear: Linear, x: NDArray[np.float64]) -> NDArray[np.float64]:
    bias = 0 if linear.bias is None else real(linear.bias)
    return x @ (linear.weights * real(linear.scales)[:, None]).T + bias


SCALED = RopeScaling("llama3", 4.0, original_positions=16)


@pytest.mark.parametrize("changes", [{}, {"qkv_bias": True}, {"rope_scaling": SCALED}, {"rope_theta": 500.0}])
def test_turned_pairs_give_the_scores_of_turned_halves(changes: dict[str, object]) -> None:
    """Every q · k of every pair of positions, with the angles that the NPE has, in FP16."""
    of = quantised(**changes)
    p, config = numbers(of), of.model.config
    attention = of.model.double().llama.model.layers[1].self_attn
    x = np.random.default_rng(0).standard_normal((LENGTH, config.hidden_size))
    assert p.cosines is not None
    assert p.sines is not None
    angles = (real(p.cosines) + 1j * real(p.sines))[:, None]

    def turned(linear: Linear) -> NDArray[np.float64]:
        pairs = product(linear, x).reshape(LENGTH, -1, config.head_dim // 2, 2)
        rotated = (pairs[..., 0] + 1j * pairs[..., 1]) * angles
        return np.stack([rotated.real, rotated.imag], -1).reshape(LENGTH, -1, config.head_dim)

    cos, sin = (each.half().double() for each in rotation(config, torch.arange(LENGTH), torch.float64))
    with torch.no_grad():
        q = attention.queries(torch.from_numpy(x), cos, sin).numpy()
        k, v = (each.numpy() for each in attention.keys_values(torch.from_numpy(x), cos, sin))
    ours = np.einsum("ihd,jhd->hij", turned(p.layers[1].q)[:, ::2], turned(p.layers[1].k))
    np.testing.assert_allclose(ours, np.einsum("ihd,jhd->hij", q[:, ::2], k), rtol=0, atol=1e-9)
    np.testing.assert_allclose(product(p.layers[1].v, x).reshape(v.shape), v, rtol=0, atol=1e-12)
    assert not np.allclose(turned(p.layers[1].q), q)  # the rows have changed places


def test_all_other_numbers_are_the_parameters_in_fp16() -> None:
    of = quantised()
    p, state = numbers(of), of.model.state_dict()
    for bits, name in (
        (p.embedding, "llama.model.embed_tokens.weight"),
        (p.final_norm.gamma, "llama.model.norm.weight"),
        (p.layers[2].attention_norm.gamma, "llama.model.layers.2.input_layernorm.weight"),
        (p.layers[2].ffn_norm.gamma, "llama.model.layers.2.post_attention_layernorm.weight"),
        (p.layers[2].ffn_router.last, "routers.ffn.2.layers.0.weight"),  # type: ignore[union-attr]
        (p.layers[2].ffn_router.last_bias, "routers.ffn.2.layers.0.bias"),  # type: ignore[union-attr]
    ):
        assert np.array_equal(real(bits), state[name].double().numpy())  # type: ignore[arg-type]
    assert np.array_equal(p.lm_head.weights, of.matrices["llama.lm_head"].values)
    assert np.array_equal(p.layers[0].down.weights, of.matrices["llama.model.layers.0.mlp.down_proj"].values)


def test_modules_that_always_run_have_no_router() -> None:
    p = numbers(quantised(SkipConfig(always_on_attention=(0, 2), always_on_ffn=(1,))))
    assert [layer.attention_router is None for layer in p.layers] == [True, False, True, False]
    assert [layer.ffn_router is None for layer in p.layers] == [False, True, False, False]


@pytest.mark.parametrize("kind", ["mlp", "bottleneck"])
def test_routers_of_two_layers_keep_both(kind: str) -> None:
    of = quantised(SkipConfig(router=kind))
    router, state = numbers(of).layers[1].attention_router, of.model.state_dict()
    assert router is not None
    assert router.hidden is not None
    first, last = "routers.attention.1.layers.0", f"routers.attention.1.layers.{2 if kind == 'mlp' else 1}"
    assert np.array_equal(real(router.hidden), state[f"{first}.weight"].numpy())
    assert np.array_equal(real(router.last), state[f"{last}.weight"].numpy())


def test_norms_of_queries_are_refused() -> None:
    with pytest.raises(SpecError, match="qk_norm = true"):
        numbers(quantised(qk_norm=True))


def test_the_model_runs_and_its_trace_says_what_it_is() -> None:
    of = quantised()
    header = header_of(of.model, name="tiny", source="a test")
    run = run_numerics(
        numbers(of), header, Overlay.load("tiny"), Board.load("u280"), tokens(LENGTH - 4).tolist(), decode=4
    )
    assert run.trace.tokens == LENGTH
    assert run.trace.header.router.always_on_attention == (0,)
    with torch.no_grad():
        ids = run.trace.token_ids
        assert ids is not None
        exact = of.model(torch.from_numpy(ids.astype(np.int64))[None])
    alike = run.trace.rows("ffn") == exact.executed[1, :, 0].numpy()
    assert alike.mean() > 0.9
