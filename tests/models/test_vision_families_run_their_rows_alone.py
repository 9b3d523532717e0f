"""Pruning visual tokens: computing the rows that run = computing all and masking; the trace tells which ran."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from tiny_vision import LAYERS, VISUAL, prompt, tiny, words
from torch import Tensor, nn

from skipopu.models.embedlens import EmbedLens, Words, export_embedlens
from skipopu.models.hidrop import HiDrop, export_hidrop
from skipopu.models.llava import export_llava, llava
from skipopu.models.prescribed import Prescribed
from skipopu.models.rotary import rotation
from skipopu.models.row_method import Method
from skipopu.models.row_sets import RowSets
from skipopu.models.vica import Vica, export_vica
from skipopu.models.visipruner import Thresholds, VisiPruner, export_visipruner
from skipopu.models.visual_language import ImagePrompt, VisualLanguage
from skipopu.trace import EventKind, Trace, keys_per_query
from skipopu.trace.families import hidrop, vica
from skipopu.trace.families import llava as dense
from skipopu.trace.visual import Layout

DECODE, SYSTEM, SEEDS = 3, 4, (0, 1)
IMAGE = slice(SYSTEM, SYSTEM + VISUAL)
VICA = vica.Knobs(SYSTEM, VISUAL, cross_layers=(0, 3, 4), system_query_layers=2)
HIDROP = hidrop.Knobs(SYSTEM, VISUAL, inject=2, filters=(3, 5), keep=(7, 3), exit=6)
VISIPRUNER = Thresholds(shallow=1, turns=0.97, distance=0.5, quiet=0.3)


@dataclass(frozen=True)
class Case:
    method: Callable[[Layout, int], Method]
    export: Callable[[VisualLanguage, ImagePrompt, int, int], Trace]


def lens(layout: Layout, seed: int) -> EmbedLens:
    return EmbedLens(words(seed), tiny().llama.model.embed_tokens.weight.detach(), layout, LAYERS)


CASES = {
    "llava": Case(lambda layout, s: llava(layout, LAYERS), lambda m, p, d, s: export_llava(m, p, d, "a test")),
    "vica": Case(lambda layout, s: Vica(VICA, layout, LAYERS), lambda m, p, d, s: export_vica(m, p, d, VICA, "a test")),
    "hidrop": Case(
        lambda layout, s: HiDrop(HIDROP, layout, LAYERS), lambda m, p, d, s: export_hidrop(m, p, d, HIDROP, "a test")
    ),
    "visipruner": Case(
        lambda layout, s: VisiPruner(VISIPRUNER, layout, LAYERS),
        lambda m, p, d, s: export_visipruner(m, p, d, VISIPRUNER, "a test"),
    ),
    "embedlens": Case(lens, lambda m, p, d, s: export_embedlens(m, p, d, words(s), "a test")),
}
every_family = pytest.mark.parametrize("name", CASES)
every_image = pytest.mark.parametrize("seed", SEEDS)


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@every_image
@every_family
def test_running_rows_alone_is_computing_all_and_masking(name: str, seed: int) -> None:
    layout, image = prompt(seed).layout(DECODE), prompt(seed)
    runs, masks = CASES[name].method(layout, seed), CASES[name].method(layout, seed)
    answer = tiny().generate(runs, image, DECODE)
    close(answer.logits, tiny()(masks, image, answer.ids))
    assert runs.events == masks.events


@every_image
@every_family
def test_a_trace_replays_to_the_same_rows_and_logits(name: str, seed: int) -> None:
    image = prompt(seed)
    trace = CASES[name].export(tiny(), image, DECODE, seed)
    replay = tiny().generate(Prescribed(trace), image, DECODE)
    close(replay.logits, tiny().generate(CASES[name].method(image.layout(DECODE), seed), image, DECODE).logits)
    for kind in ("q", "kv", "ffn"):
        assert np.array_equal(replay.run.recorder.rows(kind), trace.rows(kind))


def counting(seen: Counter[tuple[int, str]], at: tuple[int, str]) -> Callable[..., None]:
    return lambda _, inputs, __: seen.update({at: inputs[0].shape[0]})


@every_family
def test_no_other_row_is_computed(name: str) -> None:
    """Every projection of the decoder is watched; scoring queries and keys come on top of the rows of the trace."""
    seen: Counter[tuple[int, str]] = Counter()
    handles = []
    for layer, block in enumerate(tiny().llama.model.layers):
        for path, module in block.named_modules():
            if isinstance(module, nn.Linear):
                handles.append(module.register_forward_hook(counting(seen, (layer, path.split(".")[-1]))))
    trace = CASES[name].export(tiny(), prompt(), DECODE, 0)
    for handle in handles:
        handle.remove()
    extra: Counter[tuple[int, str]] = Counter()
    for event in trace.events:
        if event.kind is EventKind.SCORE_OP and name == "hidrop":
            extra.update({(event.layer, "q_proj"): 1, (event.layer, "k_proj"): event.keys})
            extra.update({(event.layer, "v_proj"): event.keys})  # one function projects both
    rows = {kind: trace.rows(kind).sum(axis=1) for kind in ("q", "kv", "ffn")}
    for layer in range(LAYERS):
        for matrix, kind in (("q_proj", "q"), ("o_proj", "q"), ("k_proj", "kv"), ("v_proj", "kv"), ("up_proj", "ffn")):
            assert seen[layer, matrix] == rows[kind][layer] + extra[layer, matrix], (layer, matrix)


@pytest.mark.parametrize("name", ["llava", "vica", "embedlens"])
def test_text_one_by_one_is_text_at_once(name: str) -> None:
    """Where the last prompt token decides nothing; HiDrop and VisiPruner must know it before they prune."""
    image, model = prompt(), tiny()
    x = model.embed(image).detach()
    at_once = RowSets(model.stack, CASES[name].method(image.layout(), 0)).extend(x)
    run = RowSets(model.stack, CASES[name].method(image.layout(), 0))
    parts = [run.extend(x[: IMAGE.stop])] + [run.extend(row[None]) for row in x[IMAGE.stop :]]
    text = ~run.method.masks.visual
    close(torch.cat(parts)[text], at_once[text])


@every_family
def test_decode_reads_as_many_keys_as_the_caches_hold(name: str) -> None:
    case, image = CASES[name], prompt()
    answer = tiny().generate(case.method(image.layout(DECODE), 0), image, DECODE)
    held = [answer.run.cache.stored(layer) for layer in range(LAYERS)]
    assert keys_per_query(case.export(tiny(), image, DECODE, 0))[:, -1].tolist() == held


def same(ours: Trace, generated: Trace, *, events: bool = True) -> None:
    for kind in ("q", "kv", "ffn"):
        assert np.array_equal(ours.rows(kind), generated.rows(kind))
    columns = set(ours.arrays) | set(generated.arrays)
    assert all(np.array_equal(ours.arrays[c], generated.arrays[c]) for c in columns)
    assert ours.events == generated.events or not events
    assert ours.header.segments == generated.header.segments
    assert ours.header.position_policy == generated.header.position_policy


@pytest.mark.parametrize("name", ["llava", "vica"])
def test_the_generator_makes_the_exported_trace(name: str) -> None:
    knobs: dict[str, Any] = {"llava": (dense, dense.Knobs(SYSTEM, VISUAL)), "vica": (vica, VICA)}
    module, chosen = knobs[name]
    ours = CASES[name].export(tiny(), prompt(), DECODE, 0)
    same(ours, module.make(ours.header.shape, 5, DECODE, 0, chosen))


def test_hidrop_s_generator_differs_only_in_which_tokens_stay() -> None:
    ours = CASES["hidrop"].export(tiny(), prompt(), DECODE, 0)
    drawn = hidrop.make(ours.header.shape, 5, DECODE, 0, HIDROP)
    for kind in ("q", "kv", "ffn"):
        assert np.array_equal(ours.rows(kind).sum(axis=1), drawn.rows(kind).sum(axis=1))
    fields = ("kind", "step", "layer", "op", "rows", "keys", "k")
    assert [[getattr(e, f) for f in fields] + [len(e.kept)] for e in ours.events] == [
        [getattr(e, f) for f in fields] + [len(e.kept)] for e in drawn.events
    ]


@every_image
def test_embedlens_s_trace_follows_from_its_classes(seed: int) -> None:
    from skipopu.trace.families.embedlens import DEAD, classed_trace
    from skipopu.trace.visual import image_header

    ours = CASES["embedlens"].export(tiny(), prompt(seed), DECODE, seed)
    layout, classes = prompt(seed).layout(DECODE), ours.arrays["token_class"][IMAGE]
    assert 0 < (classes == DEAD).sum() < VISUAL
    header = image_header("embedlens", ours.header.shape, layout, ours.header.provenance)
    same(ours, classed_trace(header, layout, classes.astype(int), "dead"))


@every_image
def test_visipruner_s_trace_follows_from_its_decision(seed: int) -> None:
    from skipopu.trace.families.visipruner import Decision, events, masks, present

    layout = prompt(seed).layout(DECODE)
    method = VisiPruner(VISIPRUNER, layout, LAYERS)
    tiny().generate(method, prompt(seed), DECODE)
    ours = CASES["visipruner"].export(tiny(), prompt(seed), DECODE, seed)
    kept = next(event.kept for event in ours.events if event.kind is EventKind.PRUNE)
    assert method.filter_layer is not None
    assert method.exit_layer is not None
    decision = Decision(method.filter_layer, method.exit_layer, np.asarray(kept))
    assert ours.events == tuple(events(decision, VISIPRUNER.shallow, layout))
    assert np.array_equal(ours.rows("q"), layout.image_rows(LAYERS, present(decision, LAYERS, layout)))
    assert np.array_equal(ours.arrays["mask_class"], masks(VISIPRUNER.shallow, LAYERS))


def test_vica_reads_the_embeddings_through_the_layer_s_own_norm() -> None:
    image, model = prompt(), tiny()
    run = model.generate(Vica(VICA, image.layout(), LAYERS), image, 0).run
    for index in VICA.cross_layers:
        layer, tokens = model.llama.model.layers[index], torch.arange(IMAGE.start, IMAGE.stop)
        expected = layer.self_attn.v_proj(layer.input_layernorm(model.visual(image.patches)))
        held, _, values = run.cache.read(index)
        close(values[torch.isin(held, tokens)].flatten(1), expected.detach())


def dense_logits(x: Tensor) -> Tensor:
    """The plain decoder's layers over embeddings ``x``; the last row's logits."""
    model = tiny().llama
    turned = rotation(model.config, torch.arange(len(x)), x.dtype)
    for layer in model.model.layers:
        x = layer(x, *turned)
    return model.logits(x[-1]).detach()


def test_methods_that_prune_nothing_are_the_plain_decoder() -> None:
    image = prompt()
    layout = image.layout()
    nothing = [
        llava(layout, LAYERS),
        HiDrop(hidrop.Knobs(SYSTEM, VISUAL, inject=0, filters=(3,), keep=(VISUAL,), exit=LAYERS), layout, LAYERS),
        VisiPruner(Thresholds(shallow=0, turns=-2.0), layout, LAYERS),
        EmbedLens(Words(-1, -1, -1), tiny().llama.model.embed_tokens.weight.detach(), layout, LAYERS),
    ]
    expected = dense_logits(tiny().embed(image).detach())
    for method in nothing:
        close(tiny().generate(method, image, 0).logits[0], expected)


@every_image
def test_removed_tokens_might_as_well_not_have_been_there(seed: int) -> None:
    image = prompt(seed)
    method = lens(image.layout(), seed)
    logits = tiny().generate(method, image, 0).logits[0]
    close(logits, dense_logits(tiny().embed(image).detach()[method.present]))
