"""What decides which rows of a transformer's layers run: the interface of every pruning method."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skipopu.models.config import LlamaConfig
from skipopu.models.rotary import rotation
from skipopu.models.row_masks import Masks
from skipopu.trace import Event


class Rows(NamedTuple):
    """Which of a step's tokens project a query, project K/V and run the FFN: Booleans [T] each."""

    q: Tensor
    kv: Tensor
    ffn: Tensor


class View(Protocol):
    """What a method may look at while a layer runs; tokens are given by number."""

    def entry_weights(self, query: int, keys: Tensor) -> Tensor:
        """Return softmax weights [heads, N] of a token's query over ``keys`` alone, at the entry of the layer."""

    def row_weights(self, query: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (keys [N], weights [heads, N], values [N, heads, head_dim]) of the layer's attention of a token."""

    def stream(self, tokens: Tensor) -> Tensor:
        """Return the residual stream [N, hidden] of ``tokens`` at the entry of the layer."""


@dataclass(frozen=True)
class RowStack:
    """Layers with the parts of `skipopu.models.llama.DecoderLayer`, and whether they turn queries and keys."""

    layers: Any
    config: LlamaConfig
    rotary: bool = True

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return cos and sin of ``positions`` [T]; no turn where positions are learned."""
        cos, sin = rotation(self.config, positions, dtype)
        return (cos, sin) if self.rotary else (torch.ones_like(cos), torch.zeros_like(sin))


class Method:
    """Runs everything; subclasses leave rows out. A method is good for one sequence, as it remembers its decisions.

    ``masks`` are those of the sequence; ``events`` collects what a trace should tell.
    """

    def __init__(self, masks: Masks) -> None:
        self.masks = masks
        self.events: list[Event] = []

    def enter(self, layer: int, tokens: Tensor, view: View) -> None:
        """Decide on what is at the entry of a layer, before its rows are asked for."""

    def rows(self, layer: int, tokens: Tensor) -> Rows:  # noqa: ARG002
        """Return the rows of ``tokens`` [T] that run in a layer."""
        everything = torch.ones(len(tokens), dtype=torch.bool)
        return Rows(everything, everything, everything)

    def attended(self, layer: int, tokens: Tensor, view: View) -> None:
        """Decide on what the layer's attention did, for the layers after it."""

    def added(self, layer: int, tokens: Tensor, x: Tensor) -> Tensor:  # noqa: ARG002
        """Return the residual stream [T, hidden] with what is added to it at the entry of a layer."""
        return x

    def positions(self, tokens: Tensor) -> Tensor:
        """Return the positions of ``tokens`` [T]."""
        return tokens
