"""A small vision transformer: what stands before a vision-language model, and what a tracker consists of."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.models.config import LlamaConfig
from skipopu.models.llama import Attention
from skipopu.models.row_method import RowStack


class Mlp(nn.Module):
    """down(GELU(up x)), with biases."""

    def __init__(self, inner: int, hidden: int, outer: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(hidden, inner)
        self.down_proj = nn.Linear(inner, outer)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each row of ``x`` [..., hidden] to [..., outer]."""
        out: Tensor = self.down_proj(functional.gelu(self.up_proj(x)))
        return out


class EncoderLayer(nn.Module):
    """The parts of a decoder layer with layer norms, biases and GELU, and positions learned outside."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size)
        self.self_attn = Attention(replace(config, qkv_bias=True))
        self.self_attn.o_proj = nn.Linear(config.attention_heads * config.head_dim, config.hidden_size)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size)
        self.mlp = Mlp(config.intermediate_size, config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Run every row of ``x`` [T, hidden], each seeing all."""
        still = (x.new_ones(()), x.new_zeros(()))
        normed, attention = self.input_layernorm(x), self.self_attn
        q, (k, v) = attention.queries(normed, *still), attention.keys_values(normed, *still)
        x = x + attention.attend(q, k, v, x.new_ones(len(x), len(x), dtype=torch.bool))
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class VisionTower(nn.Module):
    """Patches → hidden states of every layer; ``config.vocabulary`` is the number of positions."""

    def __init__(self, config: LlamaConfig, patch: int) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Linear(patch, config.hidden_size)
        self.places = nn.Embedding(config.vocabulary, config.hidden_size)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))

    @property
    def stack(self) -> RowStack:
        """The layers as `skipopu.models.row_sets` runs them."""
        return RowStack(self.layers, self.config, rotary=False)

    def embed(self, patches: Tensor) -> Tensor:
        """Return embeddings [T, hidden] of ``patches`` [T, patch] at places 0…T−1."""
        out: Tensor = self.patches(patches) + self.places(torch.arange(len(patches)))
        return out

    def forward(self, patches: Tensor) -> list[Tensor]:
        """Return the states [T, hidden] before the first layer and after each."""
        states = [self.embed(patches)]
        for layer in self.layers:
            states.append(layer(states[-1]))
        return states
