"""FP32 results become FP16: each step, factor or residual, is rounded to FP32, the last one to FP16."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP16, FP32, bits_of, is_nan
from skipopu.numerics.jit import jit
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.psum import add, widen

Bits = NDArray[np.uint16]
Wide = NDArray[np.uint32]
ONE = FP16.bias << FP16.fraction_bits


@jit
def narrow(bits: int) -> int:
    """Return an FP32 number rounded to FP16, nearest even."""
    return multiply(bits, FP32, ONE, FP16, FP16)


@jit
def negative(bits: int) -> int:
    """Return −x of FP32 bits; a NaN stays as it is."""
    return bits if is_nan(bits, FP32) else bits ^ FP32.sign


@jit
def with_residual(result: int, residual: int) -> int:
    """Return FP32 ``result`` + FP16 ``residual``, rounded to FP32, then to FP16."""
    return narrow(add(result, widen(residual), FP32))


def add_residuals(results: Wide, residuals: Bits) -> Bits:
    """Return ``results`` (FP32 bits) + ``residuals`` (FP16 bits) of any one shape as FP16 bits."""
    found = np.zeros(results.size, np.uint16)
    _add(np.ravel(results), np.ravel(residuals), found)
    return found.reshape(results.shape)


@jit
def _add(results: Any, residuals: Any, found: Any) -> None:
    for i in range(len(results)):
        found[i] = with_residual(bits_of(results[i]), bits_of(residuals[i]))


def scaled(sums: Wide, factor: float) -> Bits:
    """Return ``sums`` (FP32 bits, any shape) times ``factor`` as FP16 bits.

    The factor is rounded to FP32, and so is the product before it is narrowed.
    """
    found = np.zeros(sums.size, np.uint16)
    _scale(np.ravel(sums), int(np.float32(factor).view(np.uint32)), found)
    return found.reshape(sums.shape)


@jit
def _scale(sums: Any, factor: int, found: Any) -> None:
    for i in range(len(sums)):
        found[i] = narrow(multiply(bits_of(sums[i]), FP32, factor, FP32, FP32))
