"""The frame of the routed families: a decoder whose layers run in two ways, each the other's check.

`RoutedDecoder.forward` computes every row of every token and masks what the method leaves out;
`RoutedDecoder.extend` computes executed rows only, keeps K/V, and notes what it computed.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skipopu.models.config import LlamaConfig
from skipopu.models.decisions import Decisions
from skipopu.models.llama import DecoderLayer, Llama
from skipopu.models.rotary import rotation
from skipopu.models.run import Run
from skipopu.trace import StepPhase


@dataclass(frozen=True)
class Whole:
    """A whole sequence at once: token numbers [T], their rotation, the prompt's length, and who decides."""

    tokens: Tensor
    cos: Tensor
    sin: Tensor
    prompt: int
    decide: Decisions

    @property
    def causal(self) -> Tensor:
        """Which keys a query may see, [T, T]."""
        return self.tokens[None, :] <= self.tokens[:, None]

    def attention(self, layer: DecoderLayer, x: Tensor, present: Tensor | None = None) -> Tensor:
        """Attention output of every row of ``x`` [T, hidden]; keys are those of ``present`` [T] tokens and its own."""
        normed, own = layer.input_layernorm(x), torch.eye(len(x), dtype=torch.bool)
        visible = self.causal if present is None else self.causal & (present[None, :] | own)
        k, v = layer.self_attn.keys_values(normed, self.cos, self.sin)
        return layer.self_attn.attend(layer.self_attn.queries(normed, self.cos, self.sin), k, v, visible)


class RoutedDecoder(nn.Module, ABC):
    """A Llama-style decoder whose layers a family runs by ``masked_layer`` and ``executed_layer``."""

    def __init__(self, llama: Llama) -> None:
        super().__init__()
        self.llama = llama

    @property
    def config(self) -> LlamaConfig:
        """Dimensions of the backbone."""
        return self.llama.config

    @abstractmethod
    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """Compute every row of ``x`` [T, hidden] and mask: the layer's output."""

    @abstractmethod
    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """Compute executed rows of ``x`` [T, hidden] of ``tokens`` [T] only: the layer's output."""

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """Return the fields of a trace's header that the family determines."""

    @abstractmethod
    def knobs(self) -> dict[str, Any]:
        """Return the family's settings, for the provenance of a trace."""

    def embedded(self, tokens: Tensor) -> Tensor:
        """Return the stream [T, hidden] that the executing path begins with."""
        stream: Tensor = self.llama.model.embed_tokens(tokens)
        return stream

    def head(self, x: Tensor) -> Tensor:
        """Return the logits that the executing path ends with."""
        return self.llama.logits(x)

    def arrays(self, run: Run) -> dict[str, Any]:  # noqa: ARG002
        """Return the arrays of a trace, beside rows, that the family fills."""
        return {}

    @torch.inference_mode()
    def forward(self, tokens: Tensor, decisions: Decisions | None = None, prompt: int | None = None) -> Tensor:
        """Return logits [T, vocabulary] of ``tokens`` [T], the first ``prompt`` (default: all) given at once."""
        numbers, x = torch.arange(len(tokens)), self.llama.model.embed_tokens(tokens)
        cos, sin = rotation(self.config, numbers, x.dtype)
        whole = Whole(numbers, cos, sin, len(tokens) if prompt is None else prompt, decisions or Decisions())
        for index in range(self.config.layers):
            x = self.masked_layer(index, x, whole)
        return self.llama.logits(x)

    @torch.inference_mode()
    def extend(self, tokens: Tensor, run: Run, phase: StepPhase = StepPhase.PREFILL) -> Tensor:
        """Append ``tokens`` [T] to ``run`` and return their logits [T, vocabulary]."""
        first = run.recorder.step(phase, len(tokens))
        numbers, x = torch.arange(first, first + len(tokens)), self.embedded(tokens)
        for index in range(self.config.layers):
            x = self.executed_layer(index, x, numbers, run)
        return self.head(x)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw the backbone as `Llama.initialize` does, and what the family adds with deviation 1/√inputs."""
        self.llama.initialize(seed)
        generator = torch.Generator().manual_seed(seed + 1)
        for name, parameter in self.named_parameters():
            if not name.startswith("llama.") and parameter.dim() > 1:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5, generator=generator)
