"""Cutting a dense model twice: zeros in a copy, and layers with the smaller matrices."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skipopu.models.config import LlamaConfig
from skipopu.models.llama import DecoderLayer, Llama, RMSNorm
from skipopu.models.static_pruning_matrix import LowRank, Plain, TwoOfFour
from skipopu.trace import LayerShape

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FFN = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Kept:
    """What a cut leaves of one layer: indices in rising order; none of a module that is dropped."""

    hidden: Tensor
    kv_heads: Tensor
    channels: Tensor
    ranks: dict[str, int]
    sparsity: str

    @classmethod
    def draw(cls, config: LlamaConfig, shape: LayerShape | None, seed: tuple[int, int]) -> "Kept":
        """Draw which elements stay; those of the stream are the same in every layer."""
        cut = shape or LayerShape(seed[1])
        rng, stream = (np.random.Generator(np.random.PCG64(s)) for s in (seed, seed[0]))
        return cls(
            _drawn(stream, config.hidden_size, cut.hidden_size),
            _drawn(rng, config.kv_heads, cut.kv_heads),
            _drawn(rng, config.intermediate_size, cut.intermediate_size),
            dict(zip((*ATTENTION, *FFN), cut.ranks, strict=True)) if cut.ranks else {},
            cut.sparsity,
        )

    def rows(self, config: LlamaConfig, matrix: str) -> Tensor:
        """Rows of a projection that stay."""
        if matrix in ("o_proj", "down_proj"):
            return self.hidden
        return self.channels if matrix in FFN else self._elements(config, matrix)

    def columns(self, config: LlamaConfig, matrix: str) -> Tensor:
        """Columns of a projection that stay."""
        if matrix == "o_proj":
            return self._elements(config, "q_proj")
        return self.channels if matrix == "down_proj" else self.hidden

    def _elements(self, config: LlamaConfig, matrix: str) -> Tensor:
        size = config.head_dim * (config.attention_heads // config.kv_heads if matrix == "q_proj" else 1)
        return (self.kv_heads[:, None] * size + torch.arange(size)).flatten()


@torch.no_grad()
def zero_removed(llama: Llama, kept: list[Kept]) -> None:
    """Put zeros where the cut takes away, and the product of the factors where a matrix is of low rank."""
    for layer, part in zip(llama.model.layers, kept, strict=True):
        for name, linear in projections(layer).items():
            rows, columns = part.rows(llama.config, name), part.columns(llama.config, name)
            linear.weight.mul_(_ones(linear.weight, rows, 0) * _ones(linear.weight, columns, 1))
            if linear.bias is not None:
                linear.bias.mul_(_ones(linear.bias, rows, 0))
            linear.weight.copy_(compressed(name, linear, part).dense())
    outer = [llama.model.embed_tokens] if llama.config.tied_embeddings else [llama.model.embed_tokens, llama.lm_head]
    for table in outer:
        table.weight.mul_(_ones(table.weight, kept[0].hidden, 1))


@torch.no_grad()
def smaller_layer(layer: DecoderLayer, config: LlamaConfig, kept: Kept) -> DecoderLayer:
    """Return the layer with what is left; a dropped module is None."""
    heads, channels = len(kept.kv_heads), len(kept.channels)
    small = replace(
        config,
        hidden_size=len(kept.hidden),
        intermediate_size=channels or 1,
        kv_heads=heads or 1,
        attention_heads=(heads or 1) * (config.attention_heads // config.kv_heads),
    )
    cut: DecoderLayer = DecoderLayer(small).to(layer.input_layernorm.weight.dtype)
    cut.input_layernorm = smaller_norm(layer.input_layernorm, kept.hidden)
    cut.post_attention_layernorm = smaller_norm(layer.post_attention_layernorm, kept.hidden)
    attention: Any = _filled(cut.self_attn, layer.self_attn, ATTENTION, config, kept) if heads else None
    ffn: Any = _filled(cut.mlp, layer.mlp, FFN, config, kept) if channels else None
    cut.self_attn, cut.mlp = attention, ffn
    if heads and config.qk_norm:
        cut.self_attn.q_norm, cut.self_attn.k_norm = layer.self_attn.q_norm, layer.self_attn.k_norm
    return cut


def smaller_norm(norm: RMSNorm, kept: Tensor) -> RMSNorm:
    """Return the norm over ``kept`` elements that equals the whole one where the others are zero.

    The mean is over fewer elements, so weight and ε are scaled: x/√(Σ/d + ε) = √(d/h) · x/√(Σ/h + ε·d/h).
    """
    ratio = len(norm.weight) / len(kept)
    small = RMSNorm(len(kept), norm.epsilon * ratio)
    small.weight = nn.Parameter(norm.weight.detach()[kept] * ratio**0.5)
    return small


def projections(layer: DecoderLayer) -> dict[str, nn.Linear]:
    """Return the seven projections of a dense layer by name."""
    return {name: getattr(layer.self_attn, name) for name in ATTENTION} | {
        name: getattr(layer.mlp, name) for name in FFN
    }


def compressed(name: str, linear: nn.Linear, kept: Kept) -> LowRank | TwoOfFour | Plain:
    """Return the projection as the cut stores it."""
    if kept.ranks:
        return LowRank.of(linear, kept.ranks[name])
    return TwoOfFour.of(linear) if kept.sparsity == "2:4" else Plain(linear)


def _filled(small: nn.Module, full: nn.Module, names: tuple[str, ...], c: LlamaConfig, kept: Kept) -> nn.Module:
    for name in names:
        whole, rows, columns = getattr(full, name), kept.rows(c, name), kept.columns(c, name)
        part = nn.Linear(len(columns), len(rows), bias=whole.bias is not None, dtype=whole.weight.dtype)
        part.weight.copy_(whole.weight[rows][:, columns])
        if whole.bias is not None:
            part.bias.copy_(whole.bias[rows])
        setattr(small, name, compressed(name, part, kept))
    return small


def _drawn(rng: np.random.Generator, whole: int, kept: int | None) -> Tensor:
    chosen = rng.permutation(whole)[: whole if kept is None else kept]
    return torch.from_numpy(np.sort(chosen))


def _ones(weight: Tensor, kept: Tensor, axis: int) -> Tensor:
    """One at ``kept`` places of an axis, zero elsewhere, to be multiplied with ``weight``."""
    flat = torch.zeros(weight.shape[axis], dtype=weight.dtype).index_fill(0, kept, 1.0)
    return flat[:, None] if axis == 0 and weight.dim() > 1 else flat
