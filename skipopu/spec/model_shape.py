"""ModelShape: the dimensions of a decoder-only transformer, from a TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import Leaf, flag, number, word
from skipopu.spec.load import build, find, override, read_toml


@dataclass(frozen=True)
class Dimensions:
    """The leaves of a shape file, in the notation of Hugging Face configurations."""

    layers: int = number("layer", 1, 1024)
    hidden_size: int = number("element", 8, 65536)
    intermediate_size: int = number("element", 8, 262144)
    attention_heads: int = number("head", 1, 1024)
    kv_heads: int = number("head", 1, 1024)
    head_dim: int = number("element", 2, 1024)
    vocabulary: int = number("token", 2, 1048576)
    tied_embeddings: bool = flag()
    qkv_bias: bool = flag()
    qk_norm: bool = flag()
    # what Llama's descendants have alike and GPT-2 and OPT have otherwise
    norm: str = word("rms", "layer", usual="rms")
    activation: str = word("swiglu", "gelu", "relu", usual="swiglu")
    linear_bias: bool = flag(usual=False)  # of all six matrices of a layer
    learned_positions: int = number("token", 0, 1048576, usual=0)  # 0: RoPE


@dataclass(frozen=True)
class ModelShape:
    """A model shape with its provenance; derived quantities are properties in the stated unit."""

    name: str
    dimensions: Dimensions
    provenance: Mapping[str, Leaf] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        d = self.dimensions
        if d.attention_heads % d.kv_heads:
            nearest = max(k for k in range(1, d.kv_heads + 1) if d.attention_heads % k == 0)
            raise SpecError(
                f"shape {self.name}: kv_heads = {d.kv_heads} must divide attention_heads ="
                f" {d.attention_heads}; nearest: {nearest}"
            )
        if d.head_dim % 2 and not d.learned_positions:
            raise SpecError(
                f"shape {self.name}: head_dim = {d.head_dim} must be even for RoPE; nearest: {d.head_dim + 1}"
            )

    @classmethod
    def load(cls, name: str, settings: tuple[str, ...] = ()) -> "ModelShape":
        """Load a shipped shape by name (``llama2-7b``) or a TOML path, with ``key=value`` settings."""
        path = find("shape", name)
        dimensions, leaves = build(Dimensions, read_toml(path), path.name)
        if settings:
            dimensions, leaves = build(Dimensions, override(leaves, settings), path.name)
        return cls(path.stem, dimensions, leaves)

    @classmethod
    def from_values(cls, name: str, source: str, **values: Any) -> "ModelShape":
        """Make a shape from plain numbers, e.g. of a checkpoint's configuration, all from ``source``."""
        units = {k: f.metadata["bound"].unit for k, f in Dimensions.__dataclass_fields__.items()}
        table = {
            k: {"value": v, "unit": units.get(k, ""), "source": source, "confidence": "derived"}
            for k, v in values.items()
        }
        dimensions, leaves = build(Dimensions, table, f"shape {name}")
        return cls(name, dimensions, leaves)

    @property
    def queries_per_kv_head(self) -> int:
        """Query heads that share one key/value head (1 for multi-head attention)."""
        return self.dimensions.attention_heads // self.dimensions.kv_heads

    @property
    def query_size(self) -> int:
        """Elements of a token's query vector over all heads."""
        return self.dimensions.attention_heads * self.dimensions.head_dim

    @property
    def kv_size(self) -> int:
        """Elements of a token's key (or value) vector over all heads."""
        return self.dimensions.kv_heads * self.dimensions.head_dim

    @property
    def gated(self) -> bool:
        """Whether the FFN has a gate beside its up projection."""
        return self.dimensions.activation == "swiglu"

    @property
    def ffn_input(self) -> str:
        """Name of the weight matrix that the FFN's input meets."""
        return "gate_up" if self.gated else "up"

    @property
    def rotary(self) -> bool:
        """Whether queries and keys are turned by their position."""
        return not self.dimensions.learned_positions

    def biased(self, matrix: str) -> bool:
        """Whether the products of a weight matrix ("q", "k", "v", "o", "gate_up", "up", "down") have a bias.

        No head has one.
        """
        d = self.dimensions
        return (d.linear_bias and not matrix.endswith("_head")) or (d.qkv_bias and matrix in ("q", "k", "v"))

    @cached_property
    def attention_weights(self) -> int:
        """Weights of the attention projections Q, K, V, O of one layer."""
        d = self.dimensions
        return d.hidden_size * (2 * self.query_size + 2 * self.kv_size)

    @cached_property
    def ffn_weights(self) -> int:
        """Weights of gate, up and down of one layer; without SwiGLU there is no gate."""
        return (2 + self.gated) * self.dimensions.hidden_size * self.dimensions.intermediate_size

    @cached_property
    def parameters(self) -> int:
        """All parameters: projections, embeddings, learned positions, norms, biases."""
        d = self.dimensions
        norm = d.hidden_size * (2 if d.norm == "layer" else 1)
        norms = 2 * norm + (2 * d.head_dim if d.qk_norm else 0)
        biases = self.query_size + 2 * self.kv_size if d.qkv_bias or d.linear_bias else 0
        if d.linear_bias:
            biases += 2 * d.hidden_size + (1 + self.gated) * d.intermediate_size
        embeddings = d.vocabulary * d.hidden_size * (1 if d.tied_embeddings else 2)
        layer = self.attention_weights + self.ffn_weights + norms + biases
        return d.layers * layer + embeddings + d.learned_positions * d.hidden_size + norm

    def kv_bytes_per_token(self, element_bytes: int = 2) -> int:
        """Bytes of K and V of one token over all layers, FP16 unless said otherwise."""
        return 2 * self.dimensions.layers * self.kv_size * element_bytes
