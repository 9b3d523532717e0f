"""A transformer that runs an arbitrary set of rows in every layer.

A `skipopu.models.row_method.Method` says which; a pruning family is one. Two machines run a method, each the other's
check: `RowSets` here computes the rows that run and no others, keeping K/V of those rows; ``models/row_reference.py``
computes everything and masks.
"""

from typing import Any

import torch
from torch import Tensor

from skipopu.models.entry_cache import EntryCache
from skipopu.models.recorder import Recorder
from skipopu.models.row_method import Method, RowStack
from skipopu.trace import StepPhase


def grouped(attention: Any, k_or_v: Tensor) -> Tensor:
    """Repeat K or V [N, kv_heads, head_dim] for every query head of its group."""
    config = attention.config
    return k_or_v.repeat_interleave(config.attention_heads // config.kv_heads, dim=-2)


def attention_weights(attention: Any, q: Tensor, k: Tensor, visible: Tensor) -> Tensor:
    """Return softmax weights [heads, R, N] of queries [R, heads, head_dim] over K [N, heads, head_dim]."""
    logits = torch.einsum("rhd,nhd->hrn", q, k) * attention.config.head_dim**-0.5
    return logits.masked_fill(~visible, float("-inf")).softmax(-1)


class RowSets:
    """A sequence in progress through ``stack``, which computes nothing but the rows of a method.

    ``stack`` is a `RowStack`. Tokens are numbered from 0.
    """

    def __init__(self, stack: RowStack, method: Method) -> None:
        self.stack, self.method = stack, method
        self.cache = EntryCache(len(stack.layers))
        self.recorder = Recorder(len(stack.layers))
        self.origin = 0

    def fork(self, method: Method) -> "RowSets":
        """Return a run that goes on from here with ``method`` and a record of its own; this one stays as it is."""
        after = RowSets(self.stack, method)
        after.cache, after.origin = self.cache.copy(), self.origin + self.recorder.tokens
        return after

    @torch.inference_mode()
    def extend(self, x: Tensor, phase: StepPhase = StepPhase.PREFILL, *, fresh: bool = False, **step: Any) -> Tensor:
        """Run a step of embeddings ``x`` [T, hidden] through all layers; return their residual stream [T, hidden].

        ``fresh`` forgets the K/V of earlier steps, as an encoder does.
        """
        first = self.origin + self.recorder.step(phase, len(x), **step)
        if fresh:
            self.cache = EntryCache(len(self.stack.layers))
        tokens = torch.arange(first, first + len(x))
        for index in range(len(self.stack.layers)):
            x = _Layer(self, index, x, tokens).run()
        return x


class _Layer:
    """One layer of one step: the `View` that a method gets, and its rows' computation."""

    def __init__(self, machine: RowSets, index: int, x: Tensor, tokens: Tensor) -> None:
        self.machine, self.index, self.tokens = machine, index, tokens
        self.layer, self.method = machine.stack.layers[index], machine.method
        self.x = self.method.added(index, tokens, x)
        self._weights = (tokens[:0], torch.empty(0), tokens[:0], torch.empty(0))

    def run(self) -> Tensor:
        self.method.enter(self.index, self.tokens, self)
        q, kv, ffn = (rows.nonzero()[:, 0] for rows in self.method.rows(self.index, self.tokens))
        self._append(kv)
        x = self._attend(q) if len(q) else self.x
        if len(ffn):
            self._ran("ffn", ffn)
            x = x.index_add(0, ffn, self.layer.mlp(self.layer.post_attention_layernorm(x[ffn])))
        return x

    def _append(self, rows: Tensor) -> None:
        if len(rows):
            self._ran("kv", rows)
            normed = self.layer.input_layernorm(self.x[rows])
            k, v = self.layer.self_attn.keys_values(normed, *self._rotation(self.tokens[rows]))
            self.machine.cache.append(self.index, self.tokens[rows], k, v)

    def _attend(self, rows: Tensor) -> Tensor:
        self._ran("q", rows)
        attention, queries, masks = self.layer.self_attn, self.tokens[rows], self.method.masks
        keys, k, v = self.machine.cache.read(self.index)
        v = grouped(attention, v)
        q = self._queries(rows)
        weights = attention_weights(attention, q, grouped(attention, k), masks.visible(self.index, queries, keys))
        weights = masks.reweigh(self.index, weights, queries, keys)
        self._weights = (queries, weights, keys, v)
        self.method.attended(self.index, self.tokens, self)
        out = torch.einsum("hrn,nhd->rhd", weights, v).flatten(-2)
        return self.x.index_add(0, rows, attention.o_proj(out))

    def entry_weights(self, query: int, keys: Tensor) -> Tensor:
        """See `View`; projects one query, and K of ``keys``."""
        attention, rows = self.layer.self_attn, keys - self.tokens[0]
        k, _ = attention.keys_values(self.layer.input_layernorm(self.x[rows]), *self._rotation(keys))
        q = self._queries(torch.tensor([query]) - self.tokens[0])
        return attention_weights(attention, q, grouped(attention, k), torch.ones(1, len(keys), dtype=torch.bool))[:, 0]

    def row_weights(self, query: int) -> tuple[Tensor, Tensor, Tensor]:
        """See `View`; nothing is computed again."""
        queries, weights, keys, values = self._weights
        return keys, weights[:, int((queries == query).nonzero()[0, 0])], values

    def stream(self, tokens: Tensor) -> Tensor:
        """See `View`."""
        return self.x[tokens - self.tokens[0]]

    def _queries(self, rows: Tensor) -> Tensor:
        normed = self.layer.input_layernorm(self.x[rows])
        return self.layer.self_attn.queries(normed, *self._rotation(self.tokens[rows]))

    def _rotation(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        turned: tuple[Tensor, Tensor] = self.machine.stack.rotation(self.method.positions(tokens), self.x.dtype)
        return turned

    def _ran(self, kind: str, rows: Tensor) -> None:
        self.machine.recorder.ran(kind, self.index, (self.tokens[rows] - self.machine.origin).numpy())
