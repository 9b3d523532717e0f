"""KV cache that holds entries only of the tokens that appended one, layer by layer."""

import torch
from torch import Tensor


class EntryCache:
    """Per layer the entries in order of appending: token numbers [N], K and V [N, kv_heads, head_dim].

    A layer's head count is its own, so that pruned layers fit. Memory grows with what is really stored.
    """

    def __init__(self, layers: int) -> None:
        self._entries: list[tuple[Tensor, Tensor, Tensor] | None] = [None] * layers

    def append(self, layer: int, tokens: Tensor, k: Tensor, v: Tensor) -> None:
        """Add the entries of ``tokens`` [N] to a layer."""
        new, old = (tokens, k, v), self._entries[layer]
        if old is None:
            self._entries[layer] = new
        else:
            self._entries[layer] = (torch.cat((old[0], tokens)), torch.cat((old[1], k)), torch.cat((old[2], v)))

    def read(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return token numbers, K and V of a layer's entries; LookupError where nothing was appended."""
        entries = self._entries[layer]
        if entries is None:
            raise LookupError(f"layer {layer} has no entries")
        return entries

    def copy(self) -> "EntryCache":
        """Return a cache with the same entries; what is appended to one is not in the other."""
        other = EntryCache(0)
        other._entries = list(self._entries)
        return other

    def stored(self, layer: int) -> int:
        """Entries of a layer."""
        entries = self._entries[layer]
        return 0 if entries is None else len(entries[0])
