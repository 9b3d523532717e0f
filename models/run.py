"""A run of a routed model over one growing sequence: its cache, what it was told, what it did."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skipopu.models.decisions import Decisions
from skipopu.models.entry_cache import EntryCache
from skipopu.models.llama import DecoderLayer
from skipopu.models.recorder import Recorder
from skipopu.models.rotary import rotation


class Run:
    """The state of a sequence that `RoutedDecoder.extend` appends to; tokens are numbered from 0."""

    def __init__(self, layers: int, decisions: Decisions | None = None) -> None:
        self.cache = EntryCache(layers)
        self.recorder = Recorder(layers)
        self.decide = decisions or Decisions()
        self._parts: dict[str, list[tuple[int, NDArray[Any], NDArray[Any]]]] = {}

    def mark(self, name: str, layer: int, tokens: Tensor, values: Tensor) -> None:
        """Note ``values`` [T, …] of an array of the schema that has layers and tokens as its first axes."""
        self._parts.setdefault(name, []).append((layer, tokens.numpy(), values.numpy()))

    def array(self, name: str) -> NDArray[Any]:
        """Return what was marked as [layers, tokens, …], zero where nothing was."""
        parts = self._parts[name]
        first = parts[0][2]
        found = np.zeros((self.recorder.layers, self.recorder.tokens, *first.shape[1:]), first.dtype)
        for layer, tokens, values in parts:
            found[layer, tokens] = values
        return found

    def append_entries(self, index: int, layer: DecoderLayer, x: Tensor, rows: Tensor, tokens: Tensor) -> None:
        """Project and append K and V of ``rows`` of the stream ``x`` [T, hidden], whose tokens are ``tokens`` [T]."""
        if not len(rows):
            return
        at, attention = tokens[rows], layer.self_attn
        k, v = attention.keys_values(layer.input_layernorm(x[rows]), *rotation(attention.config, at, x.dtype))
        self.cache.append(index, at, k, v)
        self.recorder.ran("kv", index, at)

    def attention(self, index: int, layer: DecoderLayer, x: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return the attention output [R, hidden] of ``rows`` over the entries up to each."""
        if not len(rows):
            return x[rows]
        at, attention = tokens[rows], layer.self_attn
        q = attention.queries(layer.input_layernorm(x[rows]), *rotation(attention.config, at, x.dtype))
        held, k, v = self.cache.read(index)
        self.recorder.ran("q", index, at)
        return attention.attend(q, k, v, held[None, :] <= at[:, None])

    def ffn(self, index: int, layer: DecoderLayer, x: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
        """Return the FFN's output [R, hidden] of ``rows``."""
        if not len(rows):
            return x[rows]
        self.recorder.ran("ffn", index, tokens[rows])
        out: Tensor = layer.mlp(layer.post_attention_layernorm(x[rows]))
        return out
