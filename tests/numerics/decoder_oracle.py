"""A decoder in float64, token by token, straight from the definition: no tiles, no rounds, no FP16 results.

It takes a layer's input as the overlay has it, so that errors do not add up over layers.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Bools = NDArray[np.bool_]


def real(bits: NDArray[np.uint16]) -> Reals:
    """FP16 bits as numbers."""
    return bits.view(np.float16).astype(np.float64)


def matrix(linear: Any) -> Reals:
    """A weight matrix with its scales."""
    values = linear.weights.astype(np.float64) if linear.weights.dtype == np.int8 else real(linear.weights)
    return values * real(linear.scales)[:, None]


def product(linear: Any, x: Reals) -> Reals:
    """Weights · x (+ bias)."""
    return x @ matrix(linear).T + (0 if linear.bias is None else real(linear.bias))


def normal(norm: Any, x: Reals, epsilon: float) -> Reals:
    """RMSNorm, or LayerNorm."""
    if norm.beta is not None:
        x = x - x.mean(-1, keepdims=True)
    scaled = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * real(norm.gamma)
    return scaled + (0 if norm.beta is None else real(norm.beta))


def turned(x: Reals, cosines: Any, sines: Any) -> Reals:
    """Turn the pairs (2i, 2i + 1) of [tokens, heads, d] as complex numbers."""
    if cosines is None:
        return x
    pairs = (x[..., ::2] + 1j * x[..., 1::2]) * (real(cosines) + 1j * real(sines))[: len(x), None]
    return np.stack([pairs.real, pairs.imag], axis=-1).reshape(x.shape)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x / (1 + np.exp(-2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
}


def router_margin(router: Any, kind: str, x: Reals) -> Reals:
    """Logit execute − logit skip."""
    if router.hidden is not None:
        x = x @ real(router.hidden).T + (0 if router.hidden_bias is None else real(router.hidden_bias))
        x = np.maximum(x, 0) if kind == "mlp" else x
    logits = x @ real(router.last).T + (0 if router.last_bias is None else real(router.last_bias))
    return logits[:, 0] - logits[:, 1]


@dataclass
class LayerResult:
    """Of all tokens: behind attention, behind the FFN, and the largest |score| that mattered."""

    middle: Reals
    out: Reals
    largest_score: float


class Oracle:
    """Layers from the first to the last; K and V of a token that skips attention are those of the layer below."""

    def __init__(self, model: Any, routing: Any) -> None:
        self.model, self.routing = model, routing
        self.keys: Any = None
        self.values: Any = None

    def layer(self, index: int, x: Reals, attention: Bools, ffn: Bools) -> LayerResult:
        """One layer on all tokens ``x`` [T, D], of which some execute."""
        layer = self.model.layers[index]
        middle, largest = self._attention(layer, x, attention)
        out = middle.copy()
        inner = normal(layer.ffn_norm, middle[ffn], self.model.epsilon)
        if layer.gate is None:
            h = ACTIVATIONS[self.model.shape.dimensions.activation](product(layer.up, inner))
        else:
            gate = product(layer.gate, inner)
            h = gate / (1 + np.exp(-gate)) * product(layer.up, inner)
        out[ffn] += product(layer.down, h)
        return LayerResult(middle, out, largest)

    def _attention(self, layer: Any, x: Reals, executed: Bools) -> tuple[Reals, float]:
        d = self.model.shape.dimensions
        xn = normal(layer.attention_norm, x, self.model.epsilon)
        angles = (self.model.cosines, self.model.sines)
        k = turned(product(layer.k, xn).reshape(len(x), d.kv_heads, -1), *angles)
        v = product(layer.v, xn).reshape(len(x), d.kv_heads, -1)
        if self.routing.kv_policy == "reuse_last" and self.keys is not None:
            own = executed[:, None, None]
            k, v = np.where(own, k, self.keys), np.where(own, v, self.values)
        self.keys, self.values = k, v
        seen = executed if self.routing.kv_policy == "evict" else np.ones_like(executed)
        q = turned(product(layer.q, xn).reshape(len(x), d.attention_heads, -1), *angles)
        found, largest, group = x.copy(), 0.0, d.attention_heads // d.kv_heads
        for token in np.flatnonzero(executed):
            heads = []
            for head in range(d.attention_heads):
                keys, values = (each[: token + 1, head // group][seen[: token + 1]] for each in (k, v))
                scores = keys @ q[token, head] / np.sqrt(d.head_dim)
                largest = max(largest, float(np.abs(scores).max()))
                powers = np.exp(scores - scores.max())
                heads.append(powers / powers.sum() @ values)
            found[token] += product(layer.o, np.concatenate(heads))
        return found, largest

    def logits(self, x: Reals) -> Reals:
        """Final norm and LM head."""
        return product(self.model.lm_head, normal(self.model.final_norm, x, self.model.epsilon))
