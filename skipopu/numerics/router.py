"""The router's decision: argmax of two logits a token, 0 execute, 1 skip (SkipOPU §2.1)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP32, bits_of, is_nan
from skipopu.numerics.jit import jit


@jit
def ordered(bits: int, sign: int) -> int:
    """Return an integer in the order of the numbers of a format with this sign bit; −0 = +0."""
    magnitude = bits & (sign - 1)
    return -magnitude if bits & sign else magnitude


@jit
def executes(execute: int, skip: int) -> bool:
    """Compare two FP32 logits; a tie executes, and a NaN does: such a token keeps its computation."""
    if is_nan(execute, FP32) or is_nan(skip, FP32):
        return True
    return ordered(execute, FP32.sign) >= ordered(skip, FP32.sign)


def executed(logits: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which tokens execute, [tokens], of ``logits`` [tokens, 2], FP32 bits."""
    found = np.zeros(len(logits), np.bool_)
    _each(np.ascontiguousarray(logits), found)
    return found


@jit
def _each(logits: Any, found: Any) -> None:
    for token in range(len(found)):
        found[token] = executes(bits_of(logits[token, 0]), bits_of(logits[token, 1]))
