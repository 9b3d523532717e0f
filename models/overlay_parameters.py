"""A quantised model's numbers in the overlay's formats, and the header of its traces."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipopu.models.config import LlamaConfig
from skipopu.models.export import router_of, shape_of
from skipopu.models.llama import DecoderLayer
from skipopu.models.quantization import HEAD, QuantisedModel
from skipopu.models.rotary import frequencies
from skipopu.models.router import Router
from skipopu.models.skipgpt import SkipGPT
from skipopu.program.parameters import (
    Bits,
    LayerParameters,
    Linear,
    ModelParameters,
    Norm,
    RouterWeights,
    interleaved_rows,
)
from skipopu.spec.error import SpecError
from skipopu.trace import Header, Provenance

LINEARS = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip


def overlay_parameters(quantised: QuantisedModel, tokens: int, *, name: str, source: str) -> ModelParameters:
    """Return the numbers of a model for sequences of up to ``tokens`` tokens.

    Raises SpecError for a model with norms of its own for queries and keys: the NPE has no unit for them.
    """
    model = quantised.model
    config, decoder = model.config, model.llama.model
    if config.qk_norm:
        raise SpecError("model qk_norm = true; the overlay has no norm of queries and keys: must be false")
    cosines, sines = rotary_tables(config, tokens)
    return ModelParameters(
        shape=shape_of(config, name, source),
        layers=tuple(_layer(quantised, index) for index in range(config.layers)),
        embedding=fp16(decoder.embed_tokens.weight),
        final_norm=Norm(fp16(decoder.norm.weight)),
        lm_head=_linear(quantised, HEAD),
        epsilon=config.norm_epsilon,
        cosines=cosines, sines=sines,
    )  # fmt: skip


def header_of(model: SkipGPT, *, name: str, source: str, provenance: str = "trained-tiny") -> Header:
    """Return the header of a trace of this model; the run itself gives segments and steps."""
    return Header(
        family="skipgpt" if model.skip.router != "none" else "dense",
        shape=shape_of(model.config, name, source),
        router=router_of(model, sampled=False),
        kv_policy=model.skip.kv_policy,
        provenance=Provenance(kind=provenance, source=source),
    )


def fp16(tensor: Tensor) -> Bits:
    """Return a tensor rounded to FP16, as bits."""
    bits: Bits = tensor.detach().cpu().to(torch.float16).numpy().view(np.uint16)
    return bits


def rotary_tables(config: LlamaConfig, tokens: int) -> tuple[Bits, Bits]:
    """Return FP16 cosines and sines [tokens, head_dim / 2] with the model's own frequencies."""
    angles = np.arange(tokens)[:, None] * frequencies(config).numpy()[None, :]
    tables: list[NDArray[np.float64]] = [np.cos(angles), np.sin(angles)]
    cosines, sines = (table.astype(np.float16).view(np.uint16) for table in tables)
    return cosines, sines


def _layer(quantised: QuantisedModel, index: int) -> LayerParameters:
    model = quantised.model
    layer: DecoderLayer = model.llama.model.layers[index]
    linears = {key: _linear(quantised, f"llama.model.layers.{index}.{path}") for key, path in LINEARS.items()}
    heads = {"q": model.config.attention_heads, "k": model.config.kv_heads}
    for key, count in heads.items():
        linears[key] = _reordered(linears[key], interleaved_rows(count, model.config.head_dim))
    return LayerParameters(
        attention_norm=Norm(fp16(layer.input_layernorm.weight)),
        ffn_norm=Norm(fp16(layer.post_attention_layernorm.weight)),
        attention_router=_router(model.routers.attention, index, model.skip.always_on_attention),
        ffn_router=_router(model.routers.ffn, index, model.skip.always_on_ffn),
        **linears,
    )


def _linear(quantised: QuantisedModel, name: str) -> Linear:
    matrix, module = quantised.matrices[name], quantised.model.get_submodule(name)
    bias = None if module.bias is None else fp16(module.bias)
    return Linear(matrix.values, matrix.scales.view(np.uint16), bias)


def _reordered(linear: Linear, rows: NDArray[np.int64]) -> Linear:
    bias = None if linear.bias is None else linear.bias[rows]
    weights: NDArray[Any] = linear.weights[rows]
    return Linear(weights, linear.scales[rows], bias)


def _router(routers: torch.nn.ModuleList, index: int, always: tuple[int, ...]) -> RouterWeights | None:
    if not len(routers) or index in always:
        return None
    router: Router = routers[index]
    linears = [layer for layer in router.layers if isinstance(layer, torch.nn.Linear)]
    last, last_bias = _weights_and_bias(linears[-1])
    if len(linears) == 1:
        return RouterWeights(last, None, last_bias)
    hidden, hidden_bias = _weights_and_bias(linears[0])
    return RouterWeights(last, hidden, last_bias, hidden_bias)


def _weights_and_bias(layer: torch.nn.Linear) -> tuple[Bits, Bits]:
    return fp16(layer.weight), fp16(layer.bias)
