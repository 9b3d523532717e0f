"""Gumbel sampling at inference depends on the seed alone; in training its gates are hard."""

import numpy as np
import torch
from tiny_model import tiny_model, tokens

from skipopu.models.config import SkipConfig
from skipopu.models.routing import ATTENTION, FFN, Sampled, Site, StraightThrough

POSITIONS = torch.arange(20_000)


def test_the_same_seed_routes_the_same_and_another_does_not() -> None:
    model, ids = tiny_model(SkipConfig()), tokens(24)
    masks = [model.extend(ids, model.new_cache(24), Sampled(seed)).executed for seed in (5, 5, 6)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_execution_probability_is_the_softmax_of_the_logits() -> None:
    for gap in (-2.0, 0.0, 1.0):
        logits = torch.tensor([gap, 0.0], dtype=torch.float64).expand(len(POSITIONS), 2)
        rate = float(Sampled(1)(Site(3, FFN), logits, POSITIONS).double().mean())
        expected = 1 / (1 + np.exp(-gap))
        assert abs(rate - expected) < 4 * (expected * (1 - expected) / len(POSITIONS)) ** 0.5


def test_layers_and_modules_draw_independent_noise() -> None:
    logits = torch.zeros(len(POSITIONS), 2, dtype=torch.float64)
    sites = (Site(0, ATTENTION), Site(0, FFN), Site(1, ATTENTION))
    drawn = [Sampled(1)(site, logits, POSITIONS) for site in sites]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs(float((drawn[a] == drawn[b]).double().mean()) - 0.5) < 0.02


def test_straight_through_gates_are_exactly_hard_and_carry_the_softmax_gradient() -> None:
    logits = torch.randn(50, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rule = StraightThrough(torch.Generator().manual_seed(1), temperature=2.0)
    gate = rule(Site(0, FFN), logits, POSITIONS[:50])
    assert set(gate.detach().unique().tolist()) == {0.0, 1.0}
    gate.sum().backward()
    assert logits.grad is not None
    assert (logits.grad[:, 0] > 0).all()
    torch.testing.assert_close(logits.grad[:, 0], -logits.grad[:, 1])
