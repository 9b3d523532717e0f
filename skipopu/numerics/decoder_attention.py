"""Attention of a decoder's layers: projections row by row, K/V in rounds row block by row block."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.decoder_cache import KvCache, Rounds
from skipopu.numerics.decoder_context import attend
from skipopu.numerics.decoder_parameters import Layer, Linear, Model
from skipopu.numerics.decoder_products import Products, turned
from skipopu.spec.overlay import Overlay

Bits = NDArray[np.uint16]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Attention:
    """All layers' attention over one K/V cache of ``tokens`` tokens."""

    def __init__(
        self, overlay: Overlay, model: Model, products: Products, tokens: int, row_block: int, kv_policy: str
    ) -> None:
        self._model, self._products, self._row_block = model, products, row_block
        self._dense = kv_policy == "dense"
        self._cache = KvCache(overlay, model.shape, tokens, reuse=kv_policy == "reuse_last")
        self._lanes = overlay.npe.lanes if overlay.dataflow.fused else overlay.pe_array.dot_length
        self._outputs = [stored_heads(layer.o, model, self._cache.stored) for layer in model.layers]

    def run(self, index: int, x: Bits, tokens: Ints, gate: Bools, *, decode: bool) -> Bits:
        """Return X [rows, D] of ``tokens`` behind attention of layer ``index``; rows without ``gate`` keep theirs."""
        layer, own = self._model.layers[index], np.ones_like(gate) if self._dense else gate
        normal = np.zeros_like(x)
        if own.any():
            normal[own] = self._products.norm(x[own], layer.attention_norm)
        self._append(index, layer, normal[own], tokens, own)
        rows, found = np.flatnonzero(gate), x.copy()
        context = self._contexts(index, self._queries(layer, normal[rows], tokens[rows]), tokens, rows, decode)
        if len(rows):
            found[rows] = self._products.linear(context, self._outputs[index], x[rows])
        return found

    def _append(self, index: int, layer: Layer, normal: Bits, tokens: Ints, own: Bools) -> None:
        """K, turned, and V of the rows that project them."""
        heads, d = self._model.shape.dimensions.kv_heads, self._model.shape.dimensions.head_dim
        keys = values = np.zeros((0, heads * d), np.uint16)
        if len(normal):
            keys = self._turned(self._products.linear(normal, layer.k), heads, tokens[own])
            values = self._products.linear(normal, layer.v)
        self._cache.append(index, tokens, own, keys.reshape(-1, heads, d), values.reshape(-1, heads, d))

    def _queries(self, layer: Layer, normal: Bits, tokens: Ints) -> Bits:
        """Return turned queries [rows, K/V heads, queries of one, stored head]."""
        shape = self._model.shape
        d, group = shape.dimensions, shape.queries_per_kv_head
        q = np.zeros((0, shape.query_size), np.uint16)
        if len(normal):
            q = self._turned(self._products.linear(normal, layer.q), d.attention_heads, tokens)
        padding = ((0, 0), (0, 0), (0, 0), (0, self._cache.stored - d.head_dim))
        return np.pad(q.reshape(-1, d.kv_heads, group, d.head_dim), padding)

    def _turned(self, vectors: Bits, heads: int, tokens: Ints) -> Bits:
        cosines, sines = self._model.cosines, self._model.sines
        if cosines is None or sines is None:
            return vectors
        return turned(vectors, heads, cosines[tokens], sines[tokens])

    def _contexts(self, index: int, queries: Bits, tokens: Ints, rows: Ints, decode: bool) -> Bits:
        """Attention's output [rows, heads · stored head] before its projection, row block by row block."""
        found = np.zeros_like(queries)
        for first in range(0, len(tokens), self._row_block):
            last = min(first + self._row_block, len(tokens))
            block = slice(*np.searchsorted(rows, (first, last)))
            if block.start == block.stop:
                self._cache.leave()
                continue
            rounds = self._cache.rounds(index, int(tokens[last - 1]) + 1, decode=decode)
            found[block] = self._block(index, queries[block], tokens[rows[block]], rounds)
        return found.reshape(len(found), math.prod(found.shape[1:]))

    def _block(self, index: int, queries: Bits, tokens: Ints, rounds: Rounds) -> Bits:
        """All heads of a row block: queries and result [rows, K/V heads, queries of one, stored head]."""
        rows, heads, group, stored = queries.shape
        keys, values = self._cache.read(index, rounds.tokens)
        visible = np.tile(rounds.tokens <= tokens[:, None], (group, 1))
        found = np.zeros_like(queries)
        for head in range(heads):
            context = attend(
                self._products, queries[:, head].transpose(1, 0, 2).reshape(-1, stored), keys[:, head],
                values[:, head], visible, rounds, self._model.score_scale, self._lanes,
            )  # fmt: skip
            found[:, head] = context.reshape(group, rows, stored).transpose(1, 0, 2)
        return found


@dataclass(frozen=True)
class _Stored:
    weights: NDArray[np.int8] | NDArray[np.uint16]
    scales: Bits
    bias: Bits | None


def stored_heads(o: Linear, model: Model, stored: int) -> Linear:
    """Return the output projection for heads padded to ``stored`` elements, which meet zero weights."""
    d = model.shape.dimensions
    apart = o.weights.reshape(-1, d.attention_heads, d.head_dim)
    padded: NDArray[Any] = np.pad(apart, ((0, 0), (0, 0), (0, stored - d.head_dim)))
    return _Stored(padded.reshape(len(o.weights), -1), o.scales, o.bias)
