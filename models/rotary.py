"""Rotary position embedding, half-split as in Hugging Face Llama; angles are computed in float64."""

import math

import torch
from torch import Tensor

from skipopu.models.config import LlamaConfig, RopeScaling


def rotation(config: LlamaConfig, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cos and sin, each [T, 1, head_dim], for integer ``positions`` [T]."""
    angles = positions.double()[:, None] * frequencies(config).to(positions.device)[None, :]
    both = torch.cat((angles, angles), dim=-1)[:, None, :]
    return both.cos().to(dtype), both.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate vectors ``x`` [..., T, heads, head_dim] by their positions' angles."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def frequencies(config: LlamaConfig) -> Tensor:
    """Return the angle per position of each of the head_dim/2 pairs, radians, float64."""
    pairs = torch.arange(0, config.head_dim, 2, dtype=torch.float64, device="cpu")
    plain = config.rope_theta ** (-pairs / config.head_dim)
    return plain if config.rope_scaling is None else _scaled(plain, config.rope_scaling)


def _scaled(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow down long waves by ``factor``, keep short ones, blend in between (Llama 3.1 model card)."""
    if scaling.kind == "linear":
        return plain / scaling.factor
    turns = scaling.original_positions * plain / (2 * math.pi)  # rotations within the original context
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    keep = ((turns - low) / (high - low)).clamp(0.0, 1.0)
    return keep * plain + (1 - keep) * plain / scaling.factor
