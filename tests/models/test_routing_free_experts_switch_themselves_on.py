"""Routing-Free MoE: scores decide expert by expert; a token may have none, or all."""

import numpy as np
import pytest
import torch
from routed_models import DECODER, PROMPT, backbone, exported, fed, in_steps, ready

from skipopu.models.decisions import Decisions
from skipopu.models.routing_free_moe import Experts, MoeConfig, RoutingFreeMoe
from skipopu.spec.error import SpecError

MOE = MoeConfig(5, 12, 4, 0.6)


def experts() -> Experts:
    model = ready(RoutingFreeMoe(backbone(), MOE))
    assert isinstance(model, RoutingFreeMoe)
    layer: Experts = model.experts["2"]
    return layer


def by_definition(e: Experts, x: np.ndarray) -> np.ndarray:
    """One token after another, one expert after another, in NumPy."""
    p = {name: value.detach().numpy() for name, value in e.named_parameters()}
    out = np.zeros_like(x)
    for t, token in enumerate(x):
        for i in range(MOE.experts):
            z = p["a"][i] @ token
            score = max(0.0, p["scale"][i] * np.sqrt((z * z).sum()) + p["offset"][i])
            if score >= MOE.threshold:
                gate = p["b"][i] @ z
                out[t] += score * (p["down"][i] @ (gate / (1 + np.exp(-gate)) * (p["up"][i] @ token)))
    return out


def test_the_layer_is_what_its_definition_says() -> None:
    layer, x = experts(), torch.randn(20, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        layer.scale.copy_(torch.linspace(0.5, 1.5, MOE.experts))
        z, scores = layer.scores(x)
        ours = layer(x, z, scores * layer.active(scores))
    np.testing.assert_allclose(ours.numpy(), by_definition(layer, x.numpy()), rtol=0, atol=1e-12)


def test_groups_are_ragged_and_a_token_may_have_no_expert() -> None:
    _, trace = exported("routing_free_moe")
    bits = trace.array("experts")
    assert bits is not None
    a_token, an_expert = bits[1:].sum(axis=2), bits[1:].sum(axis=1)
    assert a_token.min() == 0
    assert a_token.max() > 1
    assert len(np.unique(an_expert)) > 2
    assert not bits[0].any()  # the first layer has an ordinary FFN


def test_every_token_is_scored_though_it_has_no_expert() -> None:
    _, trace = exported("routing_free_moe")
    assert trace.rows("ffn").all()
    bits, scores = trace.array("experts"), trace.array("expert_scores")
    assert bits is not None
    assert scores is not None
    assert (scores[bits] >= MOE.threshold).all()
    assert not scores[~bits].any()


@pytest.mark.parametrize("on", [False, True])
def test_none_and_all_of_the_experts_are_valid_choices(on: bool) -> None:
    model, trace = exported("routing_free_moe")
    given = Decisions({"experts": np.full((trace.layers, trace.tokens, MOE.experts), on)})
    logits, run = in_steps(model, fed(trace), PROMPT, given)
    assert run.array("experts")[1:].all() == on
    torch.testing.assert_close(logits, model(fed(trace), given), rtol=0, atol=1e-11)


def test_attention_is_ours_and_the_ffn_is_gone() -> None:
    model = RoutingFreeMoe(backbone(), MOE)
    names = [name for name, _ in model.llama.named_parameters()]
    assert sum("mlp" in name for name in names) == 3  # gate, up, down of the first layer
    assert sum("k_proj.weight" in name for name in names) == DECODER.layers


@pytest.mark.parametrize("change", [{"experts": 0}, {"expert_size": 0}, {"expert_rank": 0}, {"threshold": 0.0}])
def test_bad_configurations_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=f"routing-free MoE {next(iter(change))}"):
        MoeConfig(**change)  # type: ignore[arg-type]
