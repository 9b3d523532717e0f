"""States of several vision layers join the decoder where the list says, and the trace carries the list."""

import numpy as np
import pytest
import torch
from tiny_vision import DECODER, LAYERS, PATCH, TOWER, VISUAL, prompt
from torch import Tensor

from skipopu.models.layer_fusion import Fusion, LayerFusion, export_layer_fusion, recorded_plan
from skipopu.models.rotary import rotation
from skipopu.models.row_sets import RowSets
from skipopu.spec.error import SpecError
from skipopu.trace.families.layer_fusion import Knobs, make
from skipopu.trace.gemms import gemms

SYSTEM, TEXT, DECODE = 4, 5, 2
IMAGE = slice(SYSTEM, SYSTEM + VISUAL)
PLACES = {"external": (), "internal": (0, 3)}
cases = pytest.mark.parametrize("place", PLACES)
kinds = pytest.mark.parametrize("modular", [False, True], ids=["direct", "modular"])


def knobs(place: str, modular: bool) -> Knobs:
    return Knobs(SYSTEM, VISUAL, vision_layers=(1, 3), decoder_layers=PLACES[place], placement=place, modular=modular)


def fusing(place: str, modular: bool) -> LayerFusion:
    model = LayerFusion(DECODER, TOWER, PATCH, knobs(place, modular)).double().eval()
    model.initialize(seed=1, deviation=0.25)
    return model


def by_hand(model: LayerFusion, place: str) -> Tensor:
    """The dense decoder's own layers, the image's states changed between them; the last row's logits."""
    image, llama = prompt(), model.llama
    states = model.tower(image.patches)
    extra = [model.projectors[i](states[vision]) for i, vision in enumerate((1, 3))]

    def join(index: int, visual: Tensor) -> Tensor:
        if not model.joiners:
            return visual + extra[index]
        return visual + model.joiners[index](torch.cat((visual, extra[index]), 1))

    visual = model.projector(states[2])
    if place == "external":
        visual = join(1, join(0, visual))
    words = llama.model.embed_tokens
    x = torch.cat((words(torch.tensor(image.system)), visual, words(torch.tensor(image.text))))
    turned = rotation(DECODER, torch.arange(len(x)), x.dtype)
    for index, layer in enumerate(llama.model.layers):
        if index in PLACES[place]:
            x = torch.cat((x[:SYSTEM], join(PLACES[place].index(index), x[IMAGE]), x[IMAGE.stop :]))
        x = layer(x, *turned)
    return llama.logits(x[-1])


@kinds
@cases
def test_states_join_where_the_list_says(place: str, modular: bool) -> None:
    model, image = fusing(place, modular), prompt()
    layout = image.layout(DECODE)
    answer = model.generate(Fusion(model, image, layout, model.joints), image, DECODE)
    torch.testing.assert_close(answer.logits[0], by_hand(model, place).detach(), rtol=1e-10, atol=1e-10)
    whole = model(Fusion(model, image, layout, model.joints), image, answer.ids)
    torch.testing.assert_close(answer.logits, whole, rtol=1e-10, atol=1e-10)


@kinds
@cases
def test_a_trace_replays_from_its_list(place: str, modular: bool) -> None:
    model, image = fusing(place, modular), prompt()
    trace = export_layer_fusion(model, image, DECODE, "a test")
    layout = image.layout(DECODE)
    ours = model.generate(Fusion(model, image, layout, model.joints), image, DECODE).logits
    again = model.generate(Fusion(model, image, layout, recorded_plan(trace)), image, DECODE).logits
    assert torch.equal(ours, again)


@kinds
@cases
def test_the_generator_makes_the_exported_trace(place: str, modular: bool) -> None:
    model = fusing(place, modular)
    ours = export_layer_fusion(model, prompt(), DECODE, "a test")
    made = make(ours.header.shape, TEXT, DECODE, 0, knobs(place, modular))
    assert ours.events == made.events
    assert [(e.k, e.layer, e.outcome) for e in made.events] == [
        (1, (*PLACES[place], -1)[0], modular), (3, (*PLACES[place], -1, -1)[1], modular),
    ]  # fmt: skip
    for kind in ("q", "kv", "ffn"):
        assert np.array_equal(ours.rows(kind), made.rows(kind))


def test_text_one_by_one_is_text_at_once() -> None:
    model, image = fusing("internal", True), prompt()
    x = model.embed(image).detach()
    at_once = RowSets(model.stack, Fusion(model, image, image.layout(), model.joints)).extend(x)
    run = RowSets(model.stack, Fusion(model, image, image.layout(), model.joints))
    parts = [run.extend(x[: IMAGE.stop])] + [run.extend(row[None]) for row in x[IMAGE.stop :]]
    torch.testing.assert_close(torch.cat(parts), at_once, rtol=1e-10, atol=1e-10)


def test_only_a_module_inside_the_decoder_multiplies() -> None:
    found = {}
    for place in PLACES:
        for modular in (False, True):
            trace = export_layer_fusion(fusing(place, modular), prompt(), 0, "a test")
            found[place, modular] = sum(g.macs for g in gemms(trace) if g.name.startswith("fuse"))
    d = DECODER.hidden_size
    assert found.pop(("internal", True)) == 2 * VISUAL * (2 * d * d + d * d)
    assert set(found.values()) == {0}


def test_every_vision_layer_needs_a_decoder_layer() -> None:
    with pytest.raises(SpecError, match=r"decoder_layers = \[0\]; expected 2 with placement = internal"):
        LayerFusion(DECODER, TOWER, PATCH, Knobs(SYSTEM, VISUAL, (1, 3), (0,), "internal", False))
    with pytest.raises(SpecError, match=f"end at {LAYERS - 1} or below"):
        LayerFusion(DECODER, TOWER, PATCH, Knobs(SYSTEM, VISUAL, (1, 3), (0, LAYERS), "internal", False))
