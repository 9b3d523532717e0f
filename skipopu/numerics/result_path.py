"""Results of a matrix operation, word by word: total · scale + bias + residual, rounded to FP16, then a function."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP16, FP32, bits_of, is_nan, sign_of
from skipopu.numerics.gelu import gelus
from skipopu.numerics.jit import jit
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.narrowing import narrow
from skipopu.numerics.psum import add, widen
from skipopu.numerics.rotary import rotate
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.numerics.swiglu import swiglu
from skipopu.spec.npe import word_columns

Bits = NDArray[np.uint16]
Wide = NDArray[np.uint32]
FUNCTIONS = ("none", "rope", "swiglu", "residual", "relu", "gelu")


def row_words(columns: NDArray[Any], lanes: int, heads: int = 1) -> NDArray[Any]:
    """Return [..., words, W] of [..., columns]: columns of one of ``heads`` a word, zero in lanes without a column."""
    width = word_columns(columns.shape[-1], lanes)
    words = []
    for head in np.split(columns, heads, axis=-1):
        missing = -head.shape[-1] % width
        padded = np.concatenate([head, np.zeros((*head.shape[:-1], missing), head.dtype)], axis=-1)
        words.append(padded.reshape(*head.shape[:-1], -1, width))
    return np.concatenate(words, axis=-2)


def numbers(totals: Wide, scales: Wide, biases: Bits | None = None, residuals: Bits | None = None) -> Bits:
    """Return total · scale, + bias, + residual where given, as FP16 bits; each step is rounded to FP32 before.

    All of one shape: totals and scales FP32 bits, the others FP16 bits.
    """
    found, nothing = np.zeros(totals.size, np.uint16), np.full(totals.size, FP16.sign, np.uint16)
    bias, residual = (nothing if each is None else np.ravel(each) for each in (biases, residuals))
    flags = biases is not None, residuals is not None
    _numbers(np.ravel(totals), np.ravel(scales), bias, residual, *flags, found)
    return found.reshape(totals.shape)


@jit
def _numbers(
    totals: Any, scales: Any, biases: Any, residuals: Any, with_bias: bool, with_residual: bool, found: Any
) -> None:
    for i in range(len(totals)):
        number = multiply(bits_of(totals[i]), FP32, bits_of(scales[i]), FP32, FP32)
        if with_bias:
            number = add(number, widen(bits_of(biases[i])), FP32)
        if with_residual:
            number = add(number, widen(bits_of(residuals[i])), FP32)
        found[i] = narrow(number)


def apply_function(function: str, words: Bits, cosines: Bits, sines: Bits) -> Bits:
    """Return ``words`` [n, W], FP16 bits, after one of `FUNCTIONS`; cosines and sines [n, W / 2] are for rope.

    SwiGLU takes (gate, up) from each pair of lanes and leaves W / 2 results, then zeros.
    """
    if function == "rope":
        return rotate(words, cosines, sines)
    if function == "swiglu":
        gated = swiglu(np.ascontiguousarray(words[:, ::2]), np.ascontiguousarray(words[:, 1::2]))
        return np.concatenate([gated, np.zeros_like(gated)], axis=1)
    if function == "relu":
        found = np.zeros(words.size, np.uint16)
        _rectify(np.ravel(words), found)
        return found.reshape(words.shape)
    return gelus(words) if function == "gelu" else words


@jit
def _rectify(words: Any, found: Any) -> None:
    for i in range(len(words)):
        word = bits_of(words[i])
        if is_nan(word, FP16):
            found[i] = FP16.nan
        else:
            found[i] = 0 if sign_of(word, FP16) else word


def hide(words: Bits, visible: NDArray[np.bool_]) -> Bits:
    """Return raw scores with −∞ where a lane is not visible."""
    return np.where(visible, words, np.uint16(NEGATIVE_INFINITY))
