"""A skipping decoder on whole matrices: no tiles, places, lists or images; only the order of sums is the machine's.

K/V rounds are those of `rounds_oracle`, plain rules over lists.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rounds_oracle import in_order, queued, reuse_last

from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.kv_rounds import limits_of, place
from skipopu.numerics.matmul import matmul
from skipopu.numerics.normalization import layer_norm, rms_norm
from skipopu.numerics.result_path import apply_function, numbers
from skipopu.numerics.rotary import rotate
from skipopu.numerics.router import executed
from skipopu.numerics.softmax import NEGATIVE_INFINITY, add_scores, probabilities, softmax_state
from skipopu.program.parameters import Linear, ModelParameters, Norm, RouterWeights
from skipopu.spec.overlay import Overlay
from skipopu.trace import Header

Bits = NDArray[np.uint16]
ONE = 0x3F800000  # FP32


@dataclass
class Direct:
    """A sequence, block by block; ``bits`` [layers, tokens]: whose K/V there is, ``ran``: what executed."""

    parameters: ModelParameters
    header: Header
    overlay: Overlay
    tokens: int

    def __post_init__(self) -> None:
        d, o = self.parameters.shape.dimensions, self.overlay
        self.storage = o.head_storage(d.head_dim)
        self.bits = np.zeros((d.layers, self.tokens), np.bool_)
        self.ran = {kind: np.ones((d.layers, self.tokens), np.bool_) for kind in ("attention", "ffn")}
        self.k, self.v = (np.zeros((d.layers, self.tokens, d.kv_heads, self.storage), np.uint16) for _ in range(2))
        self.limits = limits_of(o, 4 * d.kv_heads * self.storage)

    def block(self, rows: Bits, first: int, decode: bool) -> Bits:
        """Append ``rows`` [n, D], the tokens from ``first`` on; return the last one's logits."""
        self.first, self.end, self.decode = first, first + len(rows), decode
        self.held: set[int] | None = None  # what the invariance buffer has for the next layer
        x = rows.copy()
        for layer in range(len(self.parameters.layers)):
            self._layer(layer, x)
        last = self._norm(x[-1:], self.parameters.final_norm)
        return self._product(last, self.parameters.lm_head)[0]

    def _layer(self, layer: int, x: Bits) -> None:
        p, span = self.parameters.layers[layer], slice(self.first, self.end)
        before = x.copy()
        attends = self.ran["attention"][layer, span] = self._routed(x, p.attention_router)
        self._attention(layer, x, np.flatnonzero(attends))
        early = self.header.router.ffn_input == "layer_input"
        runs = self.ran["ffn"][layer, span] = self._routed(before if early else x, p.ffn_router)
        if runs.any():
            x[runs] = self._product(self._feed(x[runs], p), p.down, x[runs])

    def _feed(self, x: Bits, p: Any) -> Bits:
        n = self._norm(x, p.ffn_norm)
        up = self._product(n, p.up)
        if p.gate is None:
            return apply_function(self.parameters.shape.dimensions.activation, up, up[:, ::2], up[:, ::2])
        both = np.stack([self._product(n, p.gate), up], axis=2).reshape(len(x), -1)
        return apply_function("swiglu", both, both, both)[:, : up.shape[1]]

    def _attention(self, layer: int, x: Bits, rows: Any) -> None:
        p, d = self.parameters.layers[layer], self.parameters.shape.dimensions
        kept = np.arange(len(x)) if self.header.kv_policy == "dense" else rows
        if len(kept):
            n = self._norm(x[kept], p.attention_norm)
            self.bits[layer, self.first + kept] = True
            self.k[layer, self.first + kept] = self._heads(n, p.k, d.kv_heads, kept, turn=True)
            self.v[layer, self.first + kept] = self._heads(n, p.v, d.kv_heads, kept, turn=False)
        rounds = self._rounds(layer, len(rows) > 0)
        if len(rows) == 0:
            return
        q = self._heads(self._norm(x[rows], p.attention_norm), p.q, d.attention_heads, rows, turn=True)
        group = d.attention_heads // d.kv_heads
        outputs = [self._head(layer, q[:, h], h // group, self.first + rows, rounds) for h in range(d.attention_heads)]
        flat = np.stack(outputs, axis=1).reshape(len(rows), -1)
        x[rows] = self._product(flat, self._padded_output(p.o), x[rows])

    def _padded_output(self, o: Linear) -> Linear:
        d = self.parameters.shape.dimensions
        heads = o.weights.reshape(len(o.weights), d.attention_heads, d.head_dim)
        heads = np.pad(heads, ((0, 0), (0, 0), (0, self.storage - d.head_dim)))
        return Linear(heads.reshape(len(heads), -1), o.scales, o.bias)

    def _heads(self, n: Bits, matrix: Linear, heads: int, rows: Any, *, turn: bool) -> Bits:
        p, dim = self.parameters, self.parameters.shape.dimensions.head_dim
        found = self._product(n, matrix).reshape(len(n), heads, dim)
        if turn and p.cosines is not None and p.sines is not None:
            at = self.first + rows
            found = np.stack([rotate(found[:, h], p.cosines[at], p.sines[at]) for h in range(heads)], axis=1)
        return np.pad(found, ((0, 0), (0, 0), (0, self.storage - dim)))

    def _rounds(self, layer: int, runs: bool) -> list[list[int]]:
        """Tokens of every round; nothing is read, or kept, for a block that skips."""
        held, self.held = self.held, None
        if not runs:
            return []
        bits = self.bits[: layer + 1 + self.decode, : self.end]  # prefill keeps nothing for the next layer
        own = np.where(bits, np.arange(len(bits))[:, None], -1).astype(np.int16)
        where = place(reuse_last(bits) if self.header.kv_policy == "reuse_last" else own, self.limits.ports)
        usable = held is not None and self.limits.capacity > 0
        now = held if usable and held is not None else set[int]()
        form = in_order if usable or self.limits.lock_step else queued
        found = form(self.limits, where, layer, self.end, now)
        self.held = now if self.decode else None
        return [[token for token, _ in each] for each in found]

    def _head(self, layer: int, q: Bits, head: int, query: Any, rounds: list[list[int]]) -> Bits:
        dot, state, tiles, values = self.overlay.pe_array.dot_length, softmax_state(len(q)), [], []
        for tokens in rounds:
            sources = [int(np.flatnonzero(self.bits[: layer + 1, t])[-1]) for t in tokens]
            keys = np.stack([self.k[s, t, head] for s, t in zip(sources, tokens, strict=True)])
            sums = self._sums(q, keys)
            scores = numbers(sums, np.full_like(sums, np.float32(self.parameters.score_scale).view(np.uint32)))
            hidden = np.array(tokens) > query[:, None]
            scores = np.where(hidden, np.uint16(NEGATIVE_INFINITY), scores)
            missing = dot - len(tokens)
            tiles.append(np.pad(scores, ((0, 0), (0, missing)), constant_values=NEGATIVE_INFINITY))
            add_scores(state, tiles[-1])
            vectors = np.stack([self.v[s, t, head] for s, t in zip(sources, tokens, strict=True)])
            values.append(np.pad(vectors, ((0, missing), (0, 0))))
        weights = np.concatenate([probabilities(state, tile) for tile in tiles], axis=1)
        sums = self._sums(weights, np.ascontiguousarray(np.concatenate(values).T))
        return numbers(sums, np.full_like(sums, ONE))

    def _sums(self, x: Bits, weights: Any) -> NDArray[np.uint32]:
        found = matmul(np.ascontiguousarray(x), weights, arithmetic_of(self.overlay), self.overlay.pe_array.dot_length)
        return found.view(np.uint32)

    def _product(self, x: Bits, matrix: Linear, residual: Bits | None = None) -> Bits:
        sums = self._sums(x, matrix.weights)
        scales = matrix.scales.view(np.float16).astype(np.float32).view(np.uint32)
        bias = None if matrix.bias is None else np.broadcast_to(matrix.bias, sums.shape)
        return numbers(sums, np.broadcast_to(scales, sums.shape), bias, residual)

    def _norm(self, x: Bits, norm: Norm) -> Bits:
        dot, epsilon = self.overlay.pe_array.dot_length, self.parameters.epsilon
        if norm.beta is None:
            return rms_norm(x, norm.gamma, epsilon, dot)
        return layer_norm(x, norm.gamma, norm.beta, epsilon, dot)

    def _routed(self, x: Bits, router: RouterWeights | None) -> NDArray[np.bool_]:
        if router is None:
            return np.ones(len(x), np.bool_)
        if router.hidden is not None:
            sums = self._sums(x, router.hidden)
            x = numbers(sums, np.full_like(sums, ONE))
            x = apply_function("relu", x, x, x) if self.header.router.kind == "mlp" else x
        return executed(self._sums(x, router.last))
