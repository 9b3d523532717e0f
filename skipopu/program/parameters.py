"""A model's numbers as the overlay holds them: INT4 or FP16 weights with FP16 scales, FP16 vectors, FP32 constants.

Whoever converts a checkpoint makes these. The NPE turns the lanes (2i, 2i + 1) of a head by angle i; a Llama checkpoint
turns (i, i + head_dim / 2), so its q and k rows, with their scales and biases, change places: `interleaved_rows`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape

Bits = NDArray[np.uint16]  # FP16
Weights = NDArray[np.int8] | NDArray[np.uint16]  # INT4 values −8 … 7, or FP16 bits


@dataclass(frozen=True)
class Linear:
    """A weight matrix: result = weights · x · scale (+ bias), each step rounded to FP32, the last to FP16."""

    weights: Weights  # [out, in]
    scales: Bits  # [out]
    bias: Bits | None = None  # [out]

    def __post_init__(self) -> None:
        out = len(self.weights)
        if self.weights.ndim != 2 or self.weights.dtype not in (np.int8, np.uint16):
            raise SpecError(f"weights {self.weights.dtype} {self.weights.shape}; valid: int8 or uint16, [out, in]")
        if self.weights.dtype == np.int8 and not -8 <= self.weights.min() <= self.weights.max() <= 7:
            raise SpecError(f"INT4 weights from {self.weights.min()} to {self.weights.max()}; valid: -8 to 7")
        check_bits("scales", self.scales, (out,))
        if self.bias is not None:
            check_bits("bias", self.bias, (out,))


@dataclass(frozen=True)
class Norm:
    """RMSNorm, or LayerNorm where there is a ``beta``."""

    gamma: Bits  # [D]
    beta: Bits | None = None  # [D]


@dataclass(frozen=True)
class RouterWeights:
    """A router: logits execute, skip = last · x, or last · function(hidden · x) in FP16; biases join the FP32 sums."""

    last: Bits  # [2, D], or [2, hidden width]
    hidden: Bits | None = None  # [hidden width, D]
    last_bias: Bits | None = None  # [2]
    hidden_bias: Bits | None = None  # [hidden width]


@dataclass(frozen=True)
class LayerParameters:
    """A decoder layer. ``gate`` is None where the activation has none; a router is None where the module has none."""

    attention_norm: Norm
    q: Linear
    k: Linear
    v: Linear
    o: Linear
    ffn_norm: Norm
    gate: Linear | None
    up: Linear
    down: Linear
    attention_router: RouterWeights | None = None
    ffn_router: RouterWeights | None = None


@dataclass(frozen=True)
class ModelParameters:
    """A whole model. ``positions``: learned positions; ``cosines``, ``sines``: RoPE; the others are None."""

    shape: ModelShape
    layers: tuple[LayerParameters, ...]
    embedding: Bits  # [vocabulary, D]
    final_norm: Norm
    lm_head: Linear
    epsilon: float  # of the norms, used in FP32
    cosines: Bits | None = None  # [tokens, head_dim / 2]
    sines: Bits | None = None
    positions: Bits | None = None  # [learned positions, D]

    def __post_init__(self) -> None:
        d = self.shape.dimensions
        if len(self.layers) != d.layers:
            raise SpecError(f"shape {self.shape.name}: {len(self.layers)} layers of numbers; layers = {d.layers}")
        check_bits("embedding", self.embedding, (d.vocabulary, d.hidden_size))
        for layer in self.layers:
            for name, shape in linear_shapes(self.shape).items():
                _check_linear(name, getattr(layer, name), shape, biased=self.shape.biased(name))
        _check_linear("lm_head", self.lm_head, (d.vocabulary, d.hidden_size), biased=False)
        if self.shape.rotary and (self.cosines is None or self.sines is None):
            raise SpecError(f"shape {self.shape.name}: no cosines and sines; RoPE needs [tokens, head_dim / 2] of each")
        if not self.shape.rotary and self.positions is None:
            raise SpecError(f"shape {self.shape.name}: no positions; learned positions need [positions, D]")

    @property
    def score_scale(self) -> float:
        """1/√head_dim, used in FP32."""
        return 1 / math.sqrt(self.shape.dimensions.head_dim)


def linear_shapes(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Return (out, in) of the weight matrices of a layer, by their name in `LayerParameters`."""
    d = shape.dimensions
    inner = (d.intermediate_size, d.hidden_size)
    return {
        "q": (shape.query_size, d.hidden_size), "k": (shape.kv_size, d.hidden_size),
        "v": (shape.kv_size, d.hidden_size), "o": (d.hidden_size, shape.query_size),
        **({"gate": inner} if shape.gated else {}), "up": inner, "down": (d.hidden_size, d.intermediate_size),
    }  # fmt: skip


def gated_columns(gate: Linear, up: Linear) -> Linear:
    """Return one matrix of both with columns gate 0, up 0, gate 1, up 1 …, as SwiGLU takes pairs of lanes."""

    def mixed(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.stack([a, b], axis=1).reshape(2 * len(a), *a.shape[1:])

    bias = None if gate.bias is None or up.bias is None else mixed(gate.bias, up.bias)
    return Linear(mixed(gate.weights, up.weights), mixed(gate.scales, up.scales), bias)  # type: ignore[arg-type]


def interleaved_rows(heads: int, head_dim: int) -> NDArray[np.int64]:
    """Return which row of a checkpoint that rotates halves becomes each row of q or k here."""
    within = np.arange(head_dim).reshape(2, -1).T.reshape(-1)  # 0, d/2, 1, d/2 + 1, …
    return (np.arange(heads)[:, None] * head_dim + within).reshape(-1)


def rotary_tables(shape: ModelShape, tokens: int, theta: float = 10_000.0) -> tuple[Bits, Bits]:
    """Return FP16 cosines and sines [tokens, head_dim / 2] of positions 0 …; plain RoPE of base ``theta``."""
    d = shape.dimensions.head_dim
    angles = np.arange(tokens)[:, None] * theta ** (-np.arange(0, d, 2) / d)
    return np.cos(angles).astype(np.float16).view(np.uint16), np.sin(angles).astype(np.float16).view(np.uint16)


def check_bits(name: str, found: Bits, shape: tuple[int, ...]) -> None:
    """Raise SpecError unless ``found`` is FP16 bits of ``shape``."""
    if found.shape != shape or found.dtype != np.uint16:
        raise SpecError(f"{name} {found.dtype} {found.shape}; valid: uint16 (FP16 bits) {shape}")


def _check_linear(name: str, found: Linear | None, shape: tuple[int, int], *, biased: bool) -> None:
    if found is None or found.weights.shape != shape:
        raise SpecError(f"{name} {None if found is None else found.weights.shape}; valid: [out, in] = {shape}")
    if (found.bias is not None) != biased:
        raise SpecError(f"{name}: bias {'missing' if biased else 'given'}; the shape says biased = {biased}")
