"""Static pruning: smaller matrices compute what the dense model computes with zeros in their place."""

import numpy as np
import pytest
import torch
from routed_models import DECODE, KINDS, PROMPT, backbone, exported, fed, ids, in_steps

from skipopu.models.llama import RMSNorm
from skipopu.models.static_pruning import Cut, StaticPruned, replayed
from skipopu.models.static_pruning_cut import projections, smaller_norm
from skipopu.models.static_pruning_matrix import LowRank, TwoOfFour
from skipopu.spec.error import SpecError
from skipopu.trace.family import generate


def stored(model: StaticPruned) -> int:
    """Weights that the executing path has in its projections."""
    layers = (p for name, p in model.layers.named_parameters() if p.dim() == 2 and "norm" not in name)
    return sum(p.numel() for p in layers)


def dense() -> int:
    return sum(p.weight.numel() for layer in backbone().model.layers for p in projections(layer).values())


@pytest.mark.parametrize(
    ("kind", "share"),
    [("depth", 0.5), ("width", 0.5), ("hidden", 0.75), ("2:4", 0.5)],
)
def test_the_matrices_really_are_smaller(kind: str, share: float) -> None:
    assert stored(StaticPruned(backbone(), Cut(kind, KINDS[kind]))) == share * dense()


def test_low_rank_factors_hold_no_more_than_the_share_that_is_kept() -> None:
    model = StaticPruned(backbone(), Cut("low_rank", 0.4))
    assert 0.85 * 0.6 * dense() < stored(model) <= 0.6 * dense()


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_dense_with_zeros(kind: str) -> None:
    """The masked reference is an ordinary Llama of the full size; its own forward gives the same logits."""
    model, tokens = StaticPruned(backbone(), Cut(kind, KINDS[kind], 1)), ids(13)
    with torch.inference_mode():
        expected = model.reference(tokens[None])[0]
    torch.testing.assert_close(in_steps(model, tokens, PROMPT)[0], expected, rtol=0, atol=1e-11)
    if kind not in ("low_rank", "2:4"):
        kept = dict(backbone().named_parameters())
        for name, parameter in model.reference.named_parameters():
            assert torch.equal(parameter, torch.where(parameter == 0, 0.0, kept[name])), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 3])
def test_the_generator_makes_the_trace_that_is_exported(kind: str, seed: int) -> None:
    _, trace = exported(f"static {kind}", seed)
    knobs = [f"kind={kind}", f"sparsity={KINDS[kind]}"]
    made = generate("static", trace.header.shape, PROMPT, DECODE, seed=seed, knobs=knobs)
    for rows in ("q", "kv", "ffn"):
        np.testing.assert_array_equal(made.rows(rows), trace.rows(rows))  # type: ignore[arg-type]
    for key in ("layer_shapes", "router", "kv_policy", "segments", "family"):
        assert getattr(made.header, key) == getattr(trace.header, key)
    assert made.header.provenance.knobs == trace.header.provenance.knobs
    assert made.events == trace.events == ()
    assert made.steps.columns().keys() == trace.steps.columns().keys()


def test_a_trace_says_enough_to_cut_again() -> None:
    model, trace = exported("static width", 4)
    again = replayed(backbone(4), trace)
    tokens = fed(trace)
    torch.testing.assert_close(in_steps(again, tokens, PROMPT)[0], in_steps(model, tokens, PROMPT)[0], rtol=0, atol=0)


def test_two_of_every_four_weights_stay_the_larger_ones() -> None:
    linear = torch.nn.Linear(16, 5, dtype=torch.float64)
    dense = TwoOfFour.of(linear).dense().detach().unflatten(1, (-1, 4))
    weight = linear.weight.detach().unflatten(1, (-1, 4))
    assert ((dense != 0).sum(-1) == 2).all()
    assert torch.equal(dense[dense != 0], weight[dense != 0])
    gone = torch.where(dense == 0, weight.abs(), 0.0).amax(-1)
    kept = torch.where(dense != 0, weight.abs(), torch.inf).amin(-1)
    assert (gone <= kept).all()


def test_low_rank_keeps_the_largest_singular_values() -> None:
    linear = torch.nn.Linear(9, 7, dtype=torch.float64)
    u, s, v = np.linalg.svd(linear.weight.detach().numpy(), full_matrices=False)
    factored = LowRank.of(linear, 3)
    np.testing.assert_allclose(factored.dense().detach(), u[:, :3] * s[:3] @ v[:3], atol=1e-12)
    assert (factored.inner.shape, factored.outer.shape) == ((3, 9), (7, 3))


def test_a_norm_over_fewer_elements_equals_the_whole_one_over_zeros() -> None:
    norm, kept = RMSNorm(12, 1e-2).double(), torch.tensor([0, 3, 4, 9])
    with torch.no_grad():
        norm.weight.normal_(generator=torch.Generator().manual_seed(0))
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wide = torch.zeros(5, 12, dtype=torch.float64).index_copy(1, kept, x)
    torch.testing.assert_close(smaller_norm(norm, kept)(x), norm(wide)[:, kept], rtol=0, atol=1e-14)


def test_what_cannot_be_cut_is_refused() -> None:
    with pytest.raises(SpecError, match=r"knob sparsity = 0\.3; 2:4 keeps two of four weights; nearest: 0\.5"):
        StaticPruned(backbone(), Cut("2:4", 0.3))
    with pytest.raises(SpecError, match=r"2:4 of a matrix with 6 columns; .* nearest: 8"):
        TwoOfFour.of(torch.nn.Linear(6, 2))
