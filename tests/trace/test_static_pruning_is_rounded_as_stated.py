"""Static pruning at full size: what is dropped, how sizes are rounded, what is left of the multiplications."""

from fractions import Fraction

import numpy as np
import pytest

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import LayerShape, Trace
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs

LLAMA = ModelShape.load("llama3.1-8b")
PROJECTIONS = ("q", "k", "v", "o", "gate", "up", "down")


def static(kind: str, sparsity: float = 0.5, shape: str = "llama3.1-8b", seed: int = 0) -> Trace:
    return generate("static", shape, 8, 2, seed=seed, knobs=[f"kind={kind}", f"sparsity={sparsity}"])


def share(trace: Trace) -> Fraction:
    """Multiplications of the projections, of those of the dense model."""
    dense = generate("dense", trace.header.shape, 8, 2)
    names = [f"{name}{part}" for name in PROJECTIONS for part in ("", "_in", "_out")]
    return Fraction(total_macs(gemms(trace), *names), total_macs(gemms(dense), *PROJECTIONS))


@pytest.mark.parametrize("sparsity", [0.25, 0.5, 0.125])
def test_depth_drops_whole_layers(sparsity: float) -> None:
    trace = static("depth", sparsity)
    runs = trace.rows("q")
    np.testing.assert_array_equal(runs, trace.rows("ffn"))
    np.testing.assert_array_equal(runs, trace.rows("kv"))
    assert (~runs.any(axis=1)).sum() == 32 * sparsity
    assert share(trace) == 1 - Fraction(sparsity)


def test_block_drops_single_modules() -> None:
    trace = static("block", 0.25)
    gone = [~trace.rows(kind).any(axis=1) for kind in ("q", "ffn")]  # type: ignore[arg-type]
    assert gone[0].sum() + gone[1].sum() == 64 * 0.25
    assert (gone[0] != gone[1]).any()


@pytest.mark.parametrize("kind", ["depth", "block"])
def test_what_is_dropped_is_drawn_from_the_seed(kind: str) -> None:
    assert static(kind, seed=1) == static(kind, seed=1)
    assert static(kind, seed=1).header.layer_shapes != static(kind, seed=2).header.layer_shapes


def test_width_keeps_whole_kv_heads_with_their_queries() -> None:
    half, third = (static("width", s).header.layer_shapes[0] for s in (0.5, 0.3))
    assert (half.attention_heads, half.kv_heads, half.intermediate_size) == (16, 4, 7168)
    # 0.3 of 8 heads is 2, of 14336 channels 4300: dropped counts are rounded down
    assert (third.attention_heads, third.kv_heads, third.intermediate_size) == (24, 6, 10036)
    assert share(static("width")) == Fraction(1, 2)


def test_hidden_narrows_every_projection_on_one_side() -> None:
    assert {s.hidden_size for s in static("hidden").header.layer_shapes} == {2048}
    assert share(static("hidden")) == Fraction(1, 2)


@pytest.mark.parametrize("sparsity", [0.25, 0.5])
@pytest.mark.parametrize("shape", ["llama2-7b", "llama3.1-8b", "qwen2.5-7b"])
def test_ranks_are_those_of_pruning_infer_sim(shape: str, sparsity: float) -> None:
    d = ModelShape.load(shape).dimensions
    q, kv = d.attention_heads * d.head_dim, d.kv_heads * d.head_dim
    sizes = [(q, d.hidden_size)] + [(kv, d.hidden_size)] * 2 + [(d.hidden_size, q)]
    sizes += [(d.intermediate_size, d.hidden_size)] * 3
    expected = tuple((1 - Fraction(sparsity)) * n * k // (n + k) for n, k in sizes)
    assert static("low_rank", sparsity, shape).header.layer_shapes[0].ranks == expected
    assert 1 - sparsity - 0.002 < share(static("low_rank", sparsity, shape)) <= 1 - sparsity


def test_the_square_matrices_of_llama2_keep_a_quarter_of_their_rank_at_half() -> None:
    ranks = static("low_rank", 0.5, "llama2-7b").header.layer_shapes[0].ranks
    assert ranks[:4] == (1024,) * 4
    assert ranks[4:] == (1492,) * 3  # ⌊11008·4096 / 2 / 15104⌋


def test_two_of_four_halves_k() -> None:
    assert {s.sparsity for s in static("2:4").header.layer_shapes} == {"2:4"}
    assert share(static("2:4")) == Fraction(1, 2)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        (["kind=2:4", "sparsity=0.3"], r"knob sparsity = 0\.3; 2:4 keeps two of four weights; nearest: 0\.5"),
        (["kind=deep"], "knob kind = 'deep'; expected one of depth, .*; did you mean 'depth'"),
        (["sparsity=1"], r"knob sparsity = 1; must be in 0\.\.0\.95 share; nearest: 0\.95"),
    ],
)
def test_bad_knobs_say_what_is_valid(knobs: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        generate("static", "llama2-7b", 4, 0, knobs=knobs)


def test_a_matrix_without_a_rank_left_is_refused() -> None:
    tiny = ModelShape.from_values(
        "tiny",
        "a test",
        **{"layers": 1, "hidden_size": 8, "intermediate_size": 8, "attention_heads": 1, "kv_heads": 1},
        **{"head_dim": 2, "vocabulary": 9, "tied_embeddings": True, "qkv_bias": False, "qk_norm": False},
    )
    with pytest.raises(SpecError, match=r"knob sparsity = 0\.95 leaves a matrix of 2 x 8 no rank; make it smaller"):
        generate("static", tiny, 4, 0, knobs=["kind=low_rank", "sparsity=0.95"])


@pytest.mark.parametrize("ranks", [(3, 3), (1,) * 8])
def test_ranks_are_one_a_matrix(ranks: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"layer_shape\.ranks = .*expected one a matrix, 6 or 7"):
        LayerShape(0, ranks=ranks)
    with pytest.raises(SpecError, match="and then no rank"):
        LayerShape(0, ranks=(1,) * 7, rank=3)
