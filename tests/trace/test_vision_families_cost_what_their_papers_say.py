"""Published compute of the vision families, counted from the rows and events of generated traces."""

import numpy as np
import pytest

from skipopu.trace import EventKind, Trace, keys_per_query
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.visual_macs import visual_macs, visual_tokens

TERA = 10**12
SYSTEM, VISUAL, TEXT = 35, 576, 40


def made(family: str, *knobs: str, decode: int = 3, seed: int = 0) -> Trace:
    return generate(family, prompt=TEXT, decode=decode, seed=seed, knobs=knobs)


def test_llava_7b_has_3_82_tera_visual_multiply_accumulates() -> None:
    found = visual_macs(made("llava"))
    assert found == 32 * (4 * 576 * 4096**2 + 2 * 576**2 * 4096 + 3 * 576 * 4096 * 11008)  # the papers' formula
    assert found / TERA == pytest.approx(3.817, abs=5e-4)
    assert round(found / TERA, 2) == 3.82  # published


@pytest.mark.parametrize(("shape", "visual", "published"), [("llama2-13b", 576, 7.44), ("mobilellama-2.7b", 144, 0.37)])
def test_other_dense_models_have_their_published_compute(shape: str, visual: int, published: float) -> None:
    """VisiPruner's table: LLaVA-1.5-13B, and MobileVLM-3B with 144 visual tokens."""
    trace = generate("llava", shape, prompt=TEXT, decode=0, knobs=[f"visual={visual}"])
    assert round(visual_macs(trace) / TERA, 2) == published


@pytest.mark.parametrize(
    ("keep", "tokens", "tera", "published"),
    [("215,10,5,1", 64.0, 0.4214, 0.42), ("87,10,5,1", 48.0, 0.3165, 0.32)],
    ids=["Tok64", "Tok48"],
)
def test_hidrop_keeps_the_published_tokens_and_compute(keep: str, tokens: float, tera: float, published: float) -> None:
    trace = made("hidrop", f"keep={keep}")
    assert visual_tokens(trace) == tokens
    assert visual_macs(trace) / TERA == pytest.approx(tera, abs=5e-5)
    assert round(visual_macs(trace) / TERA, 2) == published
    assert 1 - tokens / VISUAL == pytest.approx({64.0: 0.889, 48.0: 0.917}[tokens], abs=5e-4)  # published compression


def test_hidrop_scores_cost_little_beside_what_they_save() -> None:
    """The paper does not count them: at each filter one query, and the keys of all tokens that are still there."""
    trace = made("hidrop")
    scores = [g for g in gemms(trace) if g.name.startswith("score_") or g.name == "score"]
    present = 576 + 215 + 10 + 5
    assert total_macs(scores) == 4 * 4096**2 + present * 4096**2 + present * 4096
    assert total_macs(scores) / visual_macs(trace) == pytest.approx(0.032, abs=0.001)


def test_vica_leaves_4_1_percent_of_the_visual_compute() -> None:
    vica, dense = 2 * visual_macs(made("vica")), 2 * visual_macs(made("llava"))  # its paper counts two a product
    assert vica == 2 * 2 * 576 * 4096**2 * 8
    assert (vica / TERA, dense / TERA) == pytest.approx((0.309, 7.634), abs=5e-4)  # published 0.31 and 7.65
    assert vica / dense == pytest.approx(0.041, abs=6e-4)


def test_vica_projects_k_and_v_of_the_image_and_nothing_else() -> None:
    trace = made("vica")
    visual = np.zeros(trace.tokens, bool)
    visual[SYSTEM : SYSTEM + VISUAL] = True
    products = gemms(trace, visual)
    assert {g.name for g in products} == {"k", "v"}
    assert sorted({g.layer for g in products}) == [0, 1, 7, 8, 9, 10, 11, 14]
    assert {g.m for g in products} == {VISUAL}


def test_the_published_compute_of_visipruner_lies_between_two_filter_layers() -> None:
    """Its mean filter layer is not published: 3.82 → 1.76 T says no more than this."""
    fewer, more = (
        np.mean([visual_macs(made("visipruner", f"filter_layer={layer}", decode=0, seed=s)) / TERA for s in range(20)])
        for layer in (13, 14)
    )
    assert fewer < 1.76 < more
    assert more - fewer == pytest.approx(3.817 / 32, rel=0.02)  # a layer of the whole image


def test_visipruner_draws_around_the_published_means() -> None:
    traces = [made("visipruner", decode=0, seed=seed) for seed in range(60)]
    prunings = [next(e for e in t.events if e.kind is EventKind.PRUNE) for t in traces]
    exits = [next(e for e in t.events if e.kind is EventKind.EXIT) for t in traces]
    assert np.mean([len(e.kept) for e in prunings]) == pytest.approx(10.3, abs=1.0)  # published
    assert np.mean([e.layer for e in exits]) == pytest.approx(23.9, abs=0.15)  # published
    assert np.mean([e.layer - 1 for e in prunings]) == pytest.approx(13.5, abs=0.2)


def test_embedlens_searches_the_vocabulary_for_75_5_giga() -> None:
    trace = made("embedlens")
    search = total_macs(gemms(trace), "score")
    assert search == 576 * 4096 * 32000
    assert search / 1e9 == pytest.approx(75.5, abs=0.05)
    dense = visual_macs(made("llava"))
    assert (search / (dense / 32), search / dense) == pytest.approx((0.633, 0.0198), abs=1e-3)  # a layer; the model


@pytest.mark.parametrize(("remove", "tokens"), [("dead", 0.7), ("dead_and_sink", 0.6)])
def test_embedlens_leaves_the_reported_share_of_tokens(remove: str, tokens: float) -> None:
    left = [visual_tokens(made("embedlens", f"remove={remove}", decode=0, seed=seed)) for seed in range(20)]
    assert np.mean(left) == pytest.approx(tokens * VISUAL, rel=0.02)  # without dead and sink: about 346


@pytest.mark.parametrize("decode", [1, 3])
def test_decode_reads_the_image_only_where_it_was_kept(decode: int) -> None:
    text = SYSTEM + TEXT + decode
    vica = keys_per_query(made("vica", decode=decode))[:, -1]
    assert vica.tolist() == [text + VISUAL * (layer in (0, 1, 7, 8, 9, 10, 11, 14)) for layer in range(32)]
    hidrop = keys_per_query(made("hidrop", decode=decode))[:, -1]
    counts = [0] * 8 + [576] * 2 + [215] * 4 + [10] * 2 + [5] * 2 + [1] * 6 + [0] * 8
    assert hidrop.tolist() == [text + count for count in counts]
    assert set(keys_per_query(made("llava", decode=decode))[:, -1]) == {text + VISUAL}
