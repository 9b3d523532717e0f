"""miniReranker: a score from the cached prefix is the score of the whole sequence, masked; layers and keys as told."""

import numpy as np
import pytest
import torch
from tiny_vision import DECODER, LAYERS, VISUAL, prompt, tiny

from skipopu.models.minireranker import Reranker, Words, encode, export_minireranker, prefix, reference, score
from skipopu.models.prescribed import Prescribed
from skipopu.models.rotary import rotation
from skipopu.models.row_sets import RowSets
from skipopu.spec.error import SpecError
from skipopu.trace import EventKind, StepPhase, keys_per_query
from skipopu.trace.families.minireranker import Knobs, make
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms

KNOBS = Knobs(system=4, visual=VISUAL, keep_share=0.5, band_first=2, band_last=3, exit_layer=5)
WORDS = Words(yes=7, no=9)
TEXTS = [[3, 1, 4], [1, 5, 9], [2, 6, 5]]


def cached(knobs: Knobs = KNOBS) -> tuple[torch.Tensor, RowSets]:
    image = prompt()
    weights = torch.linspace(0, 1, VISUAL)[torch.randperm(VISUAL, generator=torch.Generator().manual_seed(0))]
    x = prefix(tiny(), image.system, image.patches, weights, knobs).detach()
    return x, encode(tiny(), x, knobs)


@pytest.mark.parametrize("text", TEXTS)
def test_a_cached_image_scores_as_one_sequence_would(text: list[int]) -> None:
    x, image = cached()
    ours, _ = score(tiny(), image, text, WORDS, Reranker(KNOBS, LAYERS, len(text)))
    assert ours == pytest.approx(reference(tiny(), x, text, WORDS, KNOBS), rel=1e-10)


def test_a_text_leaves_nothing_behind_for_the_next() -> None:
    _, image = cached()
    method = lambda: Reranker(KNOBS, LAYERS, 3)  # noqa: E731
    first = [score(tiny(), image, text, WORDS, method())[0] for text in TEXTS]
    again = [score(tiny(), image, text, WORDS, method())[0] for text in reversed(TEXTS)]
    assert first == again[::-1]
    assert len(set(first)) == 3


def test_a_text_one_by_one_is_the_text_at_once() -> None:
    _, image = cached()
    at_once, _ = score(tiny(), image, TEXTS[0], WORDS, Reranker(KNOBS, LAYERS, 3))
    run = image.fork(Reranker(KNOBS, LAYERS, 3))
    for word in TEXTS[0]:
        x = run.extend(tiny().llama.model.embed_tokens(torch.tensor([word])).detach())
    logits = tiny().llama.logits(x[-1]).detach()
    assert float(logits[WORDS.yes] - logits[WORDS.no]) == pytest.approx(at_once, rel=1e-10)


def test_without_band_and_exit_it_is_the_dense_model() -> None:
    knobs = Knobs(4, VISUAL, keep_share=1.0, band_first=0, band_last=LAYERS - 1, exit_layer=LAYERS)
    x, image = cached(knobs)
    ours, _ = score(tiny(), image, TEXTS[0], WORDS, Reranker(knobs, LAYERS, 3))
    whole = torch.cat((x, tiny().llama.model.embed_tokens(torch.tensor(TEXTS[0])).detach()))
    turned = rotation(DECODER, torch.arange(len(whole)), whole.dtype)
    for layer in tiny().llama.model.layers:
        whole = layer(whole, *turned)
    logits = tiny().llama.logits(whole[-1]).detach()
    assert ours == pytest.approx(float(logits[WORDS.yes] - logits[WORDS.no]), rel=1e-10)


def test_the_generator_makes_the_exported_trace_and_it_replays() -> None:
    _, image = cached()
    trace = export_minireranker(tiny(), image, TEXTS, WORDS, KNOBS, "a test")
    made = make(trace.header.shape, 3, 2, 0, KNOBS)
    assert trace.events == made.events
    assert all(np.array_equal(trace.arrays[name], made.arrays[name]) for name in {*trace.arrays, *made.arrays})
    masks = Reranker(KNOBS, LAYERS, 3).masks
    for step, text in enumerate(TEXTS):
        ours, _ = score(tiny(), image, text, WORDS, Reranker(KNOBS, LAYERS, 3))
        rows = slice(step * 3, step * 3 + 3)
        again, run = score(tiny(), image, text, WORDS, Prescribed(trace, masks, before=KNOBS.prefix))
        assert again == ours
        for kind in ("q", "kv", "ffn"):
            assert np.array_equal(run.recorder.rows(kind), trace.rows(kind)[:, rows])


def test_the_image_costs_no_rows_and_is_read_in_the_band_alone() -> None:
    trace = generate("minireranker", prompt=32, decode=1)
    keys = keys_per_query(trace)[:, -1]
    prefix_tokens = 35 + 128
    assert keys.tolist() == [32 + prefix_tokens * (12 <= layer <= 17) if layer < 21 else 0 for layer in range(36)]
    assert {g.m for g in gemms(trace) if g.name in ("q", "k", "up")} == {32}
    assert [g.n for g in gemms(trace) if g.name == "lm_head"] == [2, 2]
    assert set(trace.steps.phase) == {StepPhase.SCORE}
    assert [e.kind for e in trace.events] == [EventKind.PREFIX_REUSE, EventKind.EARLY_EXIT] * 2


def test_the_published_share_of_layers_is_active() -> None:
    trace = generate("minireranker", prompt=8, decode=0)
    assert trace.rows("ffn").any(axis=1).mean() == pytest.approx(0.58, abs=0.005)  # published: 58 % of parameters


def test_a_band_beyond_the_exit_is_refused() -> None:
    with pytest.raises(SpecError, match="band_first, band_last, exit_layer = 12, 30, 21; must rise"):
        generate("minireranker", prompt=8, decode=0, knobs=["band_last=30"])
