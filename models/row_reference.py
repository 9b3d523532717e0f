"""The masked reference of `skipopu.models.row_sets`: every row of every token is computed, then masked."""

import torch
from torch import Tensor

from skipopu.models.llama import DecoderLayer
from skipopu.models.row_method import Method, RowStack


@torch.inference_mode()
def masked(stack: RowStack, method: Method, x: Tensor) -> Tensor:
    """Run embeddings ``x`` [T, hidden] of a whole sequence at once; return the residual stream [T, hidden].

    ``method`` decides on what this computation yields, not on that of the rows alone.
    """
    tokens = torch.arange(len(x))
    for index, layer in enumerate(stack.layers):
        x = method.added(index, tokens, x)
        dense = _Dense(stack, method, index, layer, x)
        method.enter(index, tokens, dense)
        rows = method.rows(index, tokens)
        out = dense.attention(rows.kv)
        method.attended(index, tokens, dense)
        x = torch.where(rows.q[:, None], x + out, x)
        x = torch.where(rows.ffn[:, None], x + layer.mlp(layer.post_attention_layernorm(x)), x)
    return x


class _Dense:
    """One layer over all tokens: the view that a method gets, and its attention."""

    def __init__(self, stack: RowStack, method: Method, index: int, layer: DecoderLayer, x: Tensor) -> None:
        self.stack, self.method, self.index, self.layer, self.x = stack, method, index, layer, x
        self.tokens = torch.arange(len(x))

    def attention(self, entries: Tensor) -> Tensor:
        """Attend with every query [T, hidden]; tokens without ``entries`` (bool [T]) have no keys."""
        masks, tokens = self.method.masks, self.tokens
        q, k, self.v = self._projected()
        seen = masks.visible(self.index, tokens, tokens) & entries
        weights = torch.where(seen, self._logits(q, k), -torch.inf).softmax(-1)
        self.weights = masks.reweigh(self.index, weights, tokens, tokens)
        mixed = (self.weights @ self.v.transpose(0, 1)).transpose(0, 1)
        projected: Tensor = self.layer.self_attn.o_proj(mixed.flatten(-2))
        return projected

    def entry_weights(self, query: int, keys: Tensor) -> Tensor:
        """Return softmax weights [heads, N] of a token's query over ``keys`` alone."""
        q, k, _ = self._projected()
        return self._logits(q, k)[:, query, keys].softmax(-1)

    def row_weights(self, query: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return all tokens, a token's weights [heads, T], and values [T, heads, head_dim]."""
        return self.tokens, self.weights[:, query], self.v

    def stream(self, tokens: Tensor) -> Tensor:
        """Return the residual stream of ``tokens``."""
        return self.x[tokens]

    def _projected(self) -> tuple[Tensor, Tensor, Tensor]:
        attention, normed = self.layer.self_attn, self.layer.input_layernorm(self.x)
        turned = self.stack.rotation(self.method.positions(self.tokens), self.x.dtype)
        groups = self.stack.config.attention_heads // self.stack.config.kv_heads
        k, v = (part.repeat_interleave(groups, 1) for part in attention.keys_values(normed, *turned))
        return attention.queries(normed, *turned), k, v

    def _logits(self, q: Tensor, k: Tensor) -> Tensor:
        return (q.transpose(0, 1) @ k.permute(1, 2, 0)) / self.stack.config.head_dim**0.5
