"""A LLaVA directory that transformers wrote gives transformers' logits and a trace of system, image and text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from skipopu.models.checkpoint import open_checkpoint
from skipopu.models.clip_vision import ClipConfig
from skipopu.models.export import Image, export_trace
from skipopu.models.llava_checkpoint import TEXT_DEFAULTS, VISION_DEFAULTS, read_image, text_config, vision_of
from skipopu.models.llava_prompt import with_image
from skipopu.models.store import read_tensors
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Segment

pytest.importorskip("transformers")
from llava_directory import IMAGE_TOKEN, PATCHES, pixels, write_llava

BEFORE, AFTER = [3, 14, 15], [9, 26, 5, 35, 8]
TEXT = [*BEFORE, IMAGE_TOKEN, *AFTER]


def expected_logits(model: Any, image: np.ndarray, visual: int = PATCHES) -> torch.Tensor:
    """Logits of transformers, fed with pixels normalised as CLIP's processor does."""
    from transformers import CLIPImageProcessor

    values = CLIPImageProcessor(do_resize=False, do_center_crop=False)(image, return_tensors="pt")["pixel_values"]
    ids = torch.tensor([[*BEFORE, *[IMAGE_TOKEN] * visual, *AFTER]])
    with torch.no_grad():
        out: torch.Tensor = model(input_ids=ids, pixel_values=values.double()).logits[0]
    return out


def our_logits(directory: Path, image: np.ndarray) -> torch.Tensor:
    opened = open_checkpoint(str(directory), dtype=torch.float64)
    np.save(directory / "image.npy", image)
    ids, seen = with_image(TEXT, opened.vision, directory / "image.npy")
    assert seen is not None
    states = opened.model.llama.model.embed_tokens(torch.tensor(ids)).detach().clone()
    states[seen.first : seen.first + len(seen.states)] = seen.states
    cache = opened.model.new_cache(len(ids))
    parts = [opened.model.extend_embedded(part, cache).logits for part in states.split([10, len(ids) - 10])]
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("options", "visual"),
    [
        ({}, PATCHES),
        ({"vision_feature_layer": -1}, PATCHES),
        ({"vision_feature_layer": 1}, PATCHES),
        ({"vision_feature_select_strategy": "full", "image_seq_length": PATCHES + 1}, PATCHES + 1),
    ],
)
def test_logits_equal_those_of_transformers(tmp_path: Path, options: dict[str, Any], visual: int) -> None:
    model = write_llava(tmp_path, **options)
    expected = expected_logits(model, pixels(), visual)
    # transformers computes rotary angles and norms in float32 even for a float64 model, and pixels in float32
    torch.testing.assert_close(our_logits(tmp_path, pixels()), expected, rtol=0, atol=5e-5)


def test_the_image_matters(tmp_path: Path) -> None:
    write_llava(tmp_path)
    one, other = (our_logits(tmp_path, pixels(seed)) for seed in (0, 1))
    assert torch.equal(one[: len(BEFORE)], other[: len(BEFORE)])
    assert (one[-1] - other[-1]).abs().max() > 1e-2


def test_the_trace_has_system_visual_and_text_segments(tmp_path: Path) -> None:
    write_llava(tmp_path)
    opened = open_checkpoint(str(tmp_path))
    np.save(tmp_path / "image.npy", pixels())
    ids, seen = with_image(TEXT, opened.vision, tmp_path / "image.npy")
    trace = export_trace(opened.model, ids, 4, name="tiny", source="a test", provenance="measured", image=seen)
    assert trace.header.segments == (
        Segment("system", 0, 3), Segment("visual", 3, PATCHES), Segment("text", 3 + PATCHES, 9)
    )  # fmt: skip
    assert trace.steps.token_count.tolist() == [3 + PATCHES + 5, 1, 1, 1, 1]
    assert trace.token_ids is not None
    assert trace.token_ids[: len(ids)].tolist() == ids
    assert all(trace.rows(kind).all() for kind in ("q", "kv", "ffn"))


def test_an_image_without_text_before_it_has_no_system_segment(tmp_path: Path) -> None:
    write_llava(tmp_path)
    opened = open_checkpoint(str(tmp_path))
    seen = Image(0, torch.zeros(PATCHES, 32))
    trace = export_trace(opened.model, [IMAGE_TOKEN] * PATCHES + [1], 1, name="t", source="a test", image=seen)
    assert [segment.type for segment in trace.header.segments] == ["visual", "text"]


def test_decoding_after_an_image_continues_the_prefill(tmp_path: Path) -> None:
    """Greedy tokens fed again at once give the same next tokens."""
    write_llava(tmp_path)
    opened = open_checkpoint(str(tmp_path), dtype=torch.float64)
    np.save(tmp_path / "image.npy", pixels())
    ids, seen = with_image(TEXT, opened.vision, tmp_path / "image.npy")
    assert seen is not None
    trace = export_trace(opened.model, ids, 4, name="t", source="a test", image=seen)
    assert trace.token_ids is not None
    states = opened.model.llama.model.embed_tokens(torch.tensor(trace.token_ids.tolist())).detach().clone()
    states[seen.first : seen.first + PATCHES] = seen.states
    at_once = opened.model.extend_embedded(states, opened.model.new_cache(len(states))).logits.argmax(-1)
    assert at_once[len(ids) - 1 : -1].tolist() == trace.token_ids[len(ids) :].tolist()


@pytest.mark.parametrize("prefix", ["hub", "newer"])
def test_the_other_spellings_of_tensor_names_are_read_too(tmp_path: Path, prefix: str) -> None:
    from safetensors.torch import save_file

    expected = expected_logits(write_llava(tmp_path), pixels())
    tensors, _ = read_tensors(tmp_path / "model.safetensors")
    save_file({_renamed(name, prefix): tensor for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    torch.testing.assert_close(our_logits(tmp_path, pixels()), expected, rtol=0, atol=5e-5)


def _renamed(name: str, spelling: str) -> str:
    if spelling == "hub":
        return name.replace("vision_tower.", "vision_tower.vision_model.")
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.")


def test_the_published_7b_configuration_gives_its_shape_and_576_tokens(tmp_path: Path) -> None:
    """llava-1.5-7b-hf writes of its Llama only what differs from the defaults of LlamaConfig; LLaVA-1.5: 577 → 576."""
    vision = {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096, "model_type": "clip_vision_model"}
    vision |= {"num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14, "projection_dim": 768}
    text = {"max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05, "vocab_size": 32064}
    raw = {"model_type": "llava", "image_token_index": 32000, "vision_config": vision, "text_config": text}
    config = text_config(raw, tmp_path)
    dense = ModelShape.load("llama2-7b").dimensions
    for name in ("layers", "hidden_size", "intermediate_size", "attention_heads", "kv_heads", "head_dim"):
        assert getattr(config, name) == getattr(dense, name), name
    with torch.device("meta"):
        sees = vision_of(raw, config, tmp_path)
    assert (sees.tower.config.patches, sees.layers, sees.full) == (576, 23, False)
    assert sum(p.numel() for p in sees.projector.parameters()) == 1024 * 4096 + 4096 * 4096 + 2 * 4096


def test_what_a_configuration_leaves_out_is_as_in_transformers() -> None:
    import transformers

    for kind, defaults in ((transformers.LlamaConfig, TEXT_DEFAULTS), (transformers.CLIPVisionConfig, VISION_DEFAULTS)):
        theirs = kind().to_dict()
        assert {key: theirs[key] for key in defaults} == defaults
    assert transformers.LlavaConfig().vision_feature_layer == -2


def changed(section: str | None = None, **values: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        table = json.loads((directory / "config.json").read_text())
        part = table if section is None else table[section]
        part |= values
        (directory / "config.json").write_text(json.dumps(table))

    return change


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (changed("text_config", model_type="gpt2"), r"text_config.model_type = 'gpt2'; expected 'llama'"),
        (changed("vision_config", hidden_act="relu"), r"vision_config.hidden_act = 'relu' is not supported"),
        (changed("vision_config", num_attention_heads=5), r"vision heads = 5; must divide hidden_size = 24"),
        (changed("vision_config", num_hidden_layers=2), r"\(tower\): tensor encoder\.layers\.2\..* is unknown"),
        (changed(projector_hidden_act="relu"), r"projector_hidden_act = 'relu' is not supported; expected 'gelu'"),
        (changed(vision_feature_layer=[-2, -1]), r"vision_feature_layer = \[-2, -1\]; expected a whole number"),
        (changed(vision_feature_layer=-5), r"vision_feature_layer = -5; must be in -4..3"),
        (changed(vision_feature_select_strategy="cls"), r"vision_feature_select_strategy = 'cls'; expected default"),
        (changed(text_config=None), r"text_config is missing"),
        (changed("text_config", num_hidden_layers=4), r"\(language\): tensor model\.layers\.3\..* is missing"),
    ],
)
def test_an_unusable_checkpoint_is_refused_in_one_line(
    tmp_path: Path, break_it: Callable[[Path], None], message: str
) -> None:
    write_llava(tmp_path)
    break_it(tmp_path)
    with pytest.raises(SpecError, match=message) as caught:
        open_checkpoint(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_text_and_image_must_go_together(tmp_path: Path) -> None:
    write_llava(tmp_path)
    vision = open_checkpoint(str(tmp_path)).vision
    file = tmp_path / "image.npy"
    np.save(file, pixels())
    assert with_image(AFTER, vision, None) == (AFTER, None)
    with pytest.raises(SpecError, match=r"the text has an image token; give --image"):
        with_image(TEXT, vision, None)
    with pytest.raises(SpecError, match=r"has 0 image tokens \(id 95\); put one, usually <image>"):
        with_image(AFTER, vision, file)
    with pytest.raises(SpecError, match=r"has 2 image tokens"):
        with_image(TEXT + TEXT, vision, file)
    with pytest.raises(SpecError, match="the checkpoint has no vision tower"):
        with_image(TEXT, None, file)


def test_an_image_of_another_size_or_type_is_refused(tmp_path: Path) -> None:
    config, file = ClipConfig(24, 40, 3, 4, 28, 7), tmp_path / "image.npy"
    for wrong in (pixels(side=27), pixels().astype(np.float32), pixels()[..., 0]):
        np.save(file, wrong)
        with pytest.raises(SpecError, match=r"expected uint8 \[28, 28, 3\]"):
            read_image(file, config)
    file.write_bytes(b"no array")
    with pytest.raises(SpecError, match=r"give a \.npy file of pixels"):
        read_image(file, config)
    with pytest.raises(SpecError, match=r"give a \.npy file of pixels"):
        read_image(tmp_path / "nothing.npy", config)
