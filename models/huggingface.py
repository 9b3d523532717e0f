"""Hugging Face checkpoint directories: Llama, Qwen2, Qwen3 weights into our decoder, from disk only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from skipopu.models.config import LlamaConfig, RopeScaling
from skipopu.models.llama import Llama
from skipopu.models.store import FILE, assign, read_tensors
from skipopu.spec.error import SpecError

ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
INDEX = "model.safetensors.index.json"
# what we compute in one way only: key → the values that mean exactly that
FIXED: Mapping[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "mlp_bias": (False, None),
    "attention_bias": (False, None),
    "use_sliding_window": (False, None),
}
LLAMA_THETA = 10000.0  # of configurations older than the key rope_theta


def load_huggingface(directory: Path, dtype: torch.dtype = torch.float32) -> Llama:
    """Load ``config.json`` and ``model.safetensors`` (or its shards) of a local directory.

    Raises SpecError for another architecture, an option we do not compute, and missing or misshapen tensors.
    """
    config = read_config(directory)
    with torch.device("meta"):
        model = Llama(config)
    tensors = all_tensors(directory)
    if config.tied_embeddings:
        tensors.pop("lm_head.weight", None)
    assign(model, tensors, str(directory), dtype)
    model.eval()
    return model


def read_config(directory: Path) -> LlamaConfig:
    """Translate a directory's ``config.json``; SpecError names the key that cannot be translated."""
    path = directory / "config.json"
    raw = read_json(path)
    kind = raw.get("model_type")
    if kind not in ARCHITECTURES or ARCHITECTURES[kind] not in raw.get(
        "architectures", [ARCHITECTURES[kind]]
    ):
        raise SpecError(
            f"{path}: model_type = {kind!r}, architectures = {raw.get('architectures')};"
            f" expected one of {', '.join(ARCHITECTURES.values())}"
        )
    return decoder_config(raw, path)


def decoder_config(raw: Mapping[str, Any], path: Path) -> LlamaConfig:
    """Translate the table of a decoder in the file ``path``; SpecError names the key that cannot be translated."""
    for key, valid in FIXED.items():
        if raw.get(key, valid[0]) not in valid:
            raise SpecError(f"{path}: {key} = {raw[key]!r} is not supported; expected {valid[0]!r}")
    heads, hidden = integer(raw, "num_attention_heads", path), integer(raw, "hidden_size", path)
    rope = raw.get("rope_parameters") or {}
    return LlamaConfig(
        vocabulary=integer(raw, "vocab_size", path),
        hidden_size=hidden,
        intermediate_size=integer(raw, "intermediate_size", path),
        layers=integer(raw, "num_hidden_layers", path),
        attention_heads=heads,
        kv_heads=heads
        if raw.get("num_key_value_heads") is None
        else integer(raw, "num_key_value_heads", path),
        head_dim=_head_dim(raw, hidden, heads, path),
        rope_theta=float(raw.get("rope_theta") or rope.get("rope_theta") or LLAMA_THETA),
        norm_epsilon=float(raw.get("rms_norm_eps", 1e-6)),
        tied_embeddings=bool(raw.get("tie_word_embeddings", False)),
        qkv_bias=raw["model_type"] == "qwen2",
        qk_norm=raw["model_type"] == "qwen3",
        rope_scaling=_rope_scaling(raw.get("rope_scaling") or rope, path),
    )


def all_tensors(directory: Path) -> dict[str, Any]:
    """Return the tensors of all weight files of a checkpoint."""
    return {
        name: tensor
        for file in weight_files(directory)
        for name, tensor in read_tensors(file)[0].items()
        if not name.endswith("rotary_emb.inv_freq")  # written by old versions; follows from the configuration
    }


def weight_files(directory: Path) -> list[Path]:
    """Return the safetensors files of a checkpoint: one, or those its index names."""
    if (directory / FILE).is_file():
        return [directory / FILE]
    if not (directory / INDEX).is_file():
        raise SpecError(
            f"{directory}: neither {FILE} nor {INDEX}; expected a Hugging Face checkpoint in safetensors"
        )
    names = read_json(directory / INDEX).get("weight_map")
    if not isinstance(names, Mapping) or not all(isinstance(n, str) and "/" not in n for n in names.values()):
        raise SpecError(
            f"{directory / INDEX}: weight_map = {str(names)[:40]}; expected tensor names → file names"
        )
    return [directory / name for name in sorted(set(names.values()))]


def _head_dim(raw: Mapping[str, Any], hidden: int, heads: int, path: Path) -> int:
    if (
        raw.get("head_dim") is not None or raw["model_type"] == "qwen3"
    ):  # Qwen3's does not follow from the rest
        return integer(raw, "head_dim", path)
    return hidden // heads


def _rope_scaling(raw: Mapping[str, Any], path: Path) -> RopeScaling | None:
    kind = raw.get("rope_type", raw.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling("linear", float(raw["factor"]))
    if kind != "llama3":
        raise SpecError(f"{path}: rope_scaling type = {kind!r}; expected one of default, linear, llama3")
    return RopeScaling(
        "llama3",
        float(raw["factor"]),
        float(raw["low_freq_factor"]),
        float(raw["high_freq_factor"]),
        int(raw["original_max_position_embeddings"]),
    )


def integer(raw: Mapping[str, Any], key: str, path: Path) -> int:
    """Return a whole number of a configuration; SpecError names the key otherwise."""
    value = raw.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpecError(f"{path}: {key} = {value!r}; expected a whole number")
    return value


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file of a checkpoint; SpecError where there is none."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path}: {error}; expected a readable JSON file of a Hugging Face checkpoint"
        ) from None
    if not isinstance(table, dict):
        raise SpecError(f"{path}: holds a {type(table).__name__}; expected a JSON object")
    return table
