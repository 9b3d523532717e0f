"""Checkpoints of skipping models: one safetensors file with the configuration in its metadata."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from skipopu.models.config import from_table, to_table
from skipopu.models.llama import Llama
from skipopu.models.skipgpt import SkipGPT
from skipopu.spec.error import SpecError

CHECKPOINTS = Path(__file__).parent / "checkpoints"
FILE = "model.safetensors"
KEY = "skipopu"  # the one metadata entry: several would be written in no fixed order


def save_model(
    model: SkipGPT,
    path: Path,
    training: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
    prefix: str = "",
) -> None:
    """Write the tensors whose name starts with ``prefix`` as ``dtype``, with configuration and origin."""
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in sorted(model.state_dict().items())
        if name.startswith(prefix)
    }
    table = {**to_table(model.config, model.skip), "training": dict(training)}
    write_aside(path, save(tensors, {KEY: json.dumps(table, sort_keys=True)}))


def save_routers(model: SkipGPT, path: Path, training: Mapping[str, Any]) -> None:
    """Write only the routers, in float32, to go with a Hugging Face checkpoint."""
    save_model(model, path, training, torch.float32, "routers.")


def load_model(path: Path, dtype: torch.dtype = torch.float32) -> SkipGPT:
    """Load a model that :func:`save_model` wrote whole; SpecError for anything else."""
    tensors, table = read_tensors(path)
    llama, skip = from_table(metadata(path, table), str(path))
    with torch.device("meta"):
        model = SkipGPT(Llama(llama), skip)
    assign(model, tensors, str(path), dtype)
    model.eval()
    return model


def load_routers(llama: Llama, path: Path) -> SkipGPT:
    """Put the routers that :func:`save_routers` wrote before the modules of ``llama``."""
    tensors, table = read_tensors(path)
    config, skip = from_table(metadata(path, table), str(path))
    if (config.layers, config.hidden_size) != (llama.config.layers, llama.config.hidden_size):
        raise SpecError(
            f"{path}: routers of {config.layers} layers × {config.hidden_size}; the model has"
            f" {llama.config.layers} × {llama.config.hidden_size}; train routers for this model"
        )
    model = SkipGPT(llama, skip)
    weight = llama.model.embed_tokens.weight
    assign(
        model.routers, {k.removeprefix("routers."): v for k, v in tensors.items()}, str(path), weight.dtype
    )
    model.to(weight.device).eval()
    return model


def read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return all tensors and the metadata of a safetensors file; SpecError where it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SpecError(f"{path}: {error}; expected a complete safetensors file") from None


def metadata(path: Path, table: Mapping[str, str]) -> dict[str, Any]:
    """Return the parsed entry ``KEY`` of a checkpoint's metadata."""
    try:
        parsed = json.loads(table[KEY])
    except (KeyError, ValueError):
        parsed = None
    if not isinstance(parsed, dict):
        raise SpecError(f"{path}: no {KEY!r} entry in its metadata; expected a checkpoint that skipopu wrote")
    return parsed


def assign(module: torch.nn.Module, tensors: Mapping[str, Any], where: str, dtype: torch.dtype) -> None:
    """Make ``tensors`` the parameters of ``module``; SpecError names a missing, unknown or misshapen one."""
    wanted = module.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise SpecError(f"{where}: tensor {name} is missing; expected shape {list(wanted[name].shape)}")
        if name not in wanted:
            raise SpecError(f"{where}: tensor {name} is unknown to this architecture")
        found, expected = list(tensors[name].shape), list(wanted[name].shape)
        if found != expected:
            raise SpecError(f"{where}: tensor {name} has shape {found}; expected {expected}")
    module.load_state_dict({k: v.to(dtype) for k, v in tensors.items()}, assign=True)


def write_aside(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it, so that ``path`` is never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
