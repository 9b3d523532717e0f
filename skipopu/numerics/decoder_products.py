"""Products, norms and router decisions of a decoder on rows of FP16 bits, as PE array and NPE compute them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.decoder_parameters import Linear, Norm, Router
from skipopu.numerics.floating_point import FP32, bits_of
from skipopu.numerics.jit import jit
from skipopu.numerics.matmul import matmul
from skipopu.numerics.normalization import layer_norm, rms_norm
from skipopu.numerics.operands import Weights
from skipopu.numerics.psum import add, widen
from skipopu.numerics.result_path import apply_function, numbers
from skipopu.numerics.rotary import rotate
from skipopu.numerics.router import executed
from skipopu.numerics.swiglu import swiglu
from skipopu.spec.overlay import Overlay

Bits = NDArray[np.uint16]  # FP16
Wide = NDArray[np.uint32]  # FP32


def fp32_bits(value: float) -> np.uint32:
    """Return a number rounded to FP32 as bits."""
    return np.float32(value).view(np.uint32)


def widened(scales: Bits) -> Wide:
    """Return FP16 bits as FP32 bits; exact."""
    return scales.view(np.float16).astype(np.float32).view(np.uint32)


class Products:
    """Matrix products of one overlay: K-tiles of its dot length, its partial sums, its result path."""

    def __init__(self, overlay: Overlay, epsilon: float) -> None:
        self._arithmetic, self._epsilon = arithmetic_of(overlay), epsilon
        self._dot = overlay.pe_array.dot_length

    def totals(self, x: Bits, weights: Weights, dot_length: int | None = None) -> Wide:
        """Return FP32 sums [rows, out] of x · weightsᵀ."""
        return matmul(x, weights, self._arithmetic, dot_length or self._dot).view(np.uint32)

    def scaled(self, totals: Wide, scale: float) -> Bits:
        """Return totals · scale as FP16 bits."""
        return numbers(totals, np.full(totals.shape, fp32_bits(scale)))

    def linear(self, x: Bits, layer: Linear, residual: Bits | None = None) -> Bits:
        """Return weights · x · scale (+ bias) (+ residual), [rows, out], as FP16 bits."""
        totals = self.totals(x, layer.weights)
        bias = None if layer.bias is None else np.broadcast_to(layer.bias, totals.shape)
        return numbers(totals, np.broadcast_to(widened(layer.scales), totals.shape), bias, residual)

    def norm(self, x: Bits, norm: Norm) -> Bits:
        """Return rows normalised; their sums are taken row tile by row tile."""
        if norm.beta is None:
            return rms_norm(x, norm.gamma, self._epsilon, self._dot)
        return layer_norm(x, norm.gamma, norm.beta, self._epsilon, self._dot)

    def decisions(self, x: Bits, router: Router, kind: str) -> NDArray[np.bool_]:
        """Return which rows execute: the argmax of two FP32 logits; a tie executes."""
        if router.hidden is not None:
            totals = self.totals(x, router.hidden)
            bias = None if router.hidden_bias is None else np.broadcast_to(router.hidden_bias, totals.shape)
            x = numbers(totals, np.full(totals.shape, fp32_bits(1)), bias)
            x = activated("relu", x) if kind == "mlp" else x
        logits = self.totals(x, router.last)
        if router.last_bias is not None:
            _add_bias(logits, router.last_bias)
        return executed(logits)


@jit
def _add_bias(logits: Any, biases: Any) -> None:
    """Add FP16 ``biases`` [2] to FP32 ``logits`` [rows, 2], in place."""
    for row in range(logits.shape[0]):
        for column in range(logits.shape[1]):
            logits[row, column] = add(bits_of(logits[row, column]), widen(bits_of(biases[column])), FP32)


def activated(function: str, x: Bits) -> Bits:
    """Return ReLU or GELU of rows."""
    nothing = np.zeros((len(x), 0), np.uint16)
    return apply_function(function, x, nothing, nothing)


def gated(gates: Bits, ups: Bits) -> Bits:
    """Return SiLU(gate) · up of rows."""
    return swiglu(gates, ups)


def turned(vectors: Bits, heads: int, cosines: Bits, sines: Bits) -> Bits:
    """Turn each of ``heads`` of ``vectors`` [rows, heads · d] by the angles of its row, [rows, d / 2]."""
    apart = vectors.reshape(len(vectors) * heads, -1)
    angles = (np.repeat(each, heads, axis=0) for each in (cosines, sines))
    return rotate(apart, *angles).reshape(vectors.shape)
