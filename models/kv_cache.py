"""KV cache in which a skipped token reads the K and V of an earlier layer."""

import torch
from torch import Tensor

from skipopu.models.config import LlamaConfig
from skipopu.spec.error import SpecError

NOTHING = -1  # source of a token that has not executed any attention yet


class KVCache:
    """Entries [layers, capacity, kv_heads, head_dim], written only where projected, and a table of sources.

    ``source[l, t]`` is the layer whose entry token ``t`` uses at layer ``l``; it equals ``l`` where the entry
    was projected, and the last executed layer below where it was not.
    """

    def __init__(self, config: LlamaConfig, capacity: int, dtype: torch.dtype, device: torch.device) -> None:
        entries = (config.layers, capacity, config.kv_heads, config.head_dim)
        self.keys = torch.zeros(entries, dtype=dtype, device=device)
        self.values = torch.zeros(entries, dtype=dtype, device=device)
        self.source = torch.full((config.layers, capacity), NOTHING, dtype=torch.long, device=device)
        self.length = 0

    def reserve(self, tokens: int) -> Tensor:
        """Return the positions of the next ``tokens`` tokens; SpecError where they do not fit."""
        capacity = self.keys.shape[1]
        if self.length + tokens > capacity:
            raise SpecError(
                f"KV cache capacity = {capacity} tokens; {self.length + tokens} needed; make it larger"
            )
        self.length += tokens
        return torch.arange(self.length - tokens, self.length, device=self.keys.device)

    def write(self, layer: int, new: Tensor, projected: Tensor, k: Tensor, v: Tensor) -> None:
        """Store entries of ``projected`` positions; other ``new`` ones keep the source of the layer below."""
        if layer:
            self.source[layer, new] = self.source[layer - 1, new]
        self.source[layer, projected] = layer
        self.keys[layer, projected] = k
        self.values[layer, projected] = v

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return K and V [length, kv_heads, head_dim] as layer ``layer`` sees them."""
        positions = torch.arange(self.length, device=self.keys.device)
        source = self.source[layer, : self.length]
        return self.keys[source, positions], self.values[source, positions]

    @property
    def stored_entries(self) -> int:
        """Token entries stored over all layers; each is one K and one V vector."""
        layers = torch.arange(self.source.shape[0], device=self.source.device)
        return int((self.source == layers[:, None]).sum())
