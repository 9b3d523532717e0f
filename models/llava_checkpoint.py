"""LLaVA checkpoint directories (``LlavaForConditionalGeneration``): Llama, CLIP tower and projector, from disk only."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skipopu.models.clip_vision import CHANNELS, ClipConfig, ClipVision
from skipopu.models.config import LlamaConfig
from skipopu.models.huggingface import all_tensors, decoder_config, integer, read_json
from skipopu.models.llama import Llama
from skipopu.models.store import assign
from skipopu.spec.error import SpecError

MODEL_TYPE = "llava"
# where the parts of a checkpoint stand, in the order in which prefixes are tried; Hugging Face has renamed them twice
PREFIXES = (
    ("language_model.lm_head.", "language", "lm_head."),
    ("language_model.model.", "language", "model."),
    ("model.language_model.", "language", "model."),
    ("lm_head.", "language", "lm_head."),
    ("vision_tower.vision_model.", "tower", ""),
    ("model.vision_tower.vision_model.", "tower", ""),
    ("model.vision_tower.", "tower", ""),
    ("vision_tower.", "tower", ""),
    ("model.multi_modal_projector.", "projector", ""),
    ("multi_modal_projector.", "projector", ""),
)
# what a configuration may leave out: defaults of LlamaConfig and CLIPVisionConfig, which older versions did not write
TEXT_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "rms_norm_eps": 1e-6,
}  # fmt: skip
VISION_DEFAULTS: Mapping[str, Any] = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "num_channels": CHANNELS}
# what we compute in one way only
FIXED = {"projector_hidden_act": "gelu", "multimodal_projector_bias": True}
FIXED_VISION = {"model_type": "clip_vision_model", "hidden_act": "quick_gelu", "num_channels": CHANNELS}
# mean and deviation of CLIP's training images, red, green, blue (CLIP, public code; LLaVA keeps them)
MEAN, DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Projector(nn.Module):
    """mlp2x_gelu: visual states into the embedding space of the language model."""

    def __init__(self, visual: int, hidden: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(visual, hidden)
        self.linear_2 = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[T, visual] → [T, hidden]."""
        out: Tensor = self.linear_2(functional.gelu(self.linear_1(x)))
        return out


class LlavaVision(nn.Module):
    """Tower and projector; the tower's states after ``layers`` layers, without the class token unless ``full``."""

    def __init__(self, clip: ClipConfig, hidden: int, layers: int, full: bool, image_token: int) -> None:
        super().__init__()
        self.layers, self.full, self.image_token = layers, full, image_token
        self.tower = ClipVision(clip)
        self.projector = Projector(clip.hidden_size, hidden)

    @torch.inference_mode()
    def forward(self, pixels: NDArray[np.uint8]) -> Tensor:
        """Return visual embeddings [tokens, hidden] of an image, uint8 [image_size, image_size, 3], red first."""
        weight = self.projector.linear_1.weight
        image = torch.from_numpy(pixels.astype(np.float64) / 255 - np.asarray(MEAN)) / torch.tensor(DEVIATION).double()
        states = self.tower(image.permute(2, 0, 1).to(weight), self.layers)
        out: Tensor = self.projector(states if self.full else states[1:])
        return out


def is_llava(directory: Path) -> bool:
    """Whether ``config.json`` of a directory is that of a LLaVA model."""
    return read_json(directory / "config.json").get("model_type") == MODEL_TYPE


def load_llava(directory: Path, dtype: torch.dtype = torch.float32) -> tuple[Llama, LlavaVision]:
    """Load the language model, and tower with projector, of a local directory.

    Raises SpecError for what we do not compute and for missing, unknown or misshapen tensors.
    """
    path = directory / "config.json"
    raw = read_json(path)
    config = text_config(raw, path)
    with torch.device("meta"):
        llama, vision = Llama(config), vision_of(raw, config, path)
    parts = _parts(all_tensors(directory), directory)
    if config.tied_embeddings:
        parts["language"].pop("lm_head.weight", None)
    for module, name in ((llama, "language"), (vision.tower, "tower"), (vision.projector, "projector")):
        assign(module, parts[name], f"{directory} ({name})", dtype)
    return llama.eval(), vision.eval()


def text_config(raw: Mapping[str, Any], path: Path) -> LlamaConfig:
    """Translate ``text_config``; SpecError names the key that cannot be translated."""
    text = _section(raw, "text_config", path)
    if text.get("model_type", "llama") != "llama":
        raise SpecError(f"{path}: text_config.model_type = {text['model_type']!r}; expected 'llama'")
    return decoder_config({**TEXT_DEFAULTS, "model_type": "llama", **text}, path)


def read_image(path: Path, config: ClipConfig) -> NDArray[np.uint8]:
    """Return the pixels of a .npy file; SpecError unless uint8 [image_size, image_size, 3] of ``config``."""
    try:
        pixels = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise SpecError(f"--image {path}: {' '.join(str(error).split())[:100]}; give a .npy file of pixels") from None
    expected = (config.image_size, config.image_size, CHANNELS)
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape != expected:
        found = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else "several arrays"
        raise SpecError(f"--image {path}: {found}; expected uint8 {list(expected)}, resized as the tower reads it")
    return pixels


def vision_of(raw: Mapping[str, Any], text: LlamaConfig, path: Path) -> LlavaVision:
    """Make tower and projector of a configuration, without weights; SpecError names the key that does not fit."""
    vision = {**VISION_DEFAULTS, **_section(raw, "vision_config", path)}
    _fixed(raw, FIXED, "", path)
    _fixed(vision, FIXED_VISION, "vision_config.", path)
    clip = ClipConfig(
        hidden_size=integer(vision, "hidden_size", path),
        intermediate_size=integer(vision, "intermediate_size", path),
        layers=integer(vision, "num_hidden_layers", path),
        heads=integer(vision, "num_attention_heads", path),
        image_size=integer(vision, "image_size", path),
        patch_size=integer(vision, "patch_size", path),
        norm_epsilon=float(vision["layer_norm_eps"]),
    )
    strategy = raw.get("vision_feature_select_strategy", "default")
    if strategy not in ("default", "full"):
        raise SpecError(f"{path}: vision_feature_select_strategy = {strategy!r}; expected default or full")
    token = integer(raw, "image_token_index" if "image_token_index" in raw else "image_token_id", path)
    return LlavaVision(clip, text.hidden_size, _layers(raw, clip, path), strategy == "full", token)


def _layers(raw: Mapping[str, Any], clip: ClipConfig, path: Path) -> int:
    """Layers to run: ``vision_feature_layer`` counts states, 0 before the first layer, −1 after the last."""
    state = integer({"vision_feature_layer": -2, **raw}, "vision_feature_layer", path)
    if not -clip.layers - 1 <= state <= clip.layers:
        raise SpecError(f"{path}: vision_feature_layer = {state}; must be in {-clip.layers - 1}..{clip.layers}")
    return state % (clip.layers + 1)


def _parts(tensors: Mapping[str, Tensor], directory: Path) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"language": {}, "tower": {}, "projector": {}}
    for name, tensor in tensors.items():
        for prefix, part, inside in PREFIXES:
            if name.startswith(prefix):
                parts[part][inside + name.removeprefix(prefix)] = tensor
                break
        else:
            raise SpecError(f"{directory}: tensor {name} belongs to no part; expected {', '.join(parts)}")
    parts["tower"].pop("embeddings.position_ids", None)  # written by old versions; 0, 1, 2, …
    return parts


def _section(raw: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    if not isinstance(raw.get(key), Mapping):
        raise SpecError(f"{path}: {key} is missing; expected the config.json of LlavaForConditionalGeneration")
    section: Mapping[str, Any] = raw[key]
    return section


def _fixed(raw: Mapping[str, Any], fixed: Mapping[str, object], where: str, path: Path) -> None:
    for key, valid in fixed.items():
        if raw.get(key, valid) != valid:
            raise SpecError(f"{path}: {where}{key} = {raw[key]!r} is not supported; expected {valid!r}")
