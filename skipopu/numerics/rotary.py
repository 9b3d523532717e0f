"""Rotary position embedding on pairs of a vector: exact products, one FP32 addition, one rounding to FP16."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP16, FP32, bits_of
from skipopu.numerics.jit import jit
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.narrowing import narrow, negative
from skipopu.numerics.psum import add

Bits = NDArray[np.uint16]


def rotate(vectors: Bits, cosines: Bits, sines: Bits) -> Bits:
    """Turn the pairs (even, odd) of ``vectors`` [rows, d] by the angles of ``cosines``, ``sines`` [rows, d / 2].

    All FP16 bits.
    """
    found = np.zeros(vectors.shape, np.uint16)
    _rotate(np.ascontiguousarray(vectors), np.ascontiguousarray(cosines), np.ascontiguousarray(sines), found)
    return found


@jit
def _rotate(vectors: Any, cosines: Any, sines: Any, found: Any) -> None:
    for row in range(cosines.shape[0]):
        for pair in range(cosines.shape[1]):
            even, odd = bits_of(vectors[row, 2 * pair]), bits_of(vectors[row, 2 * pair + 1])
            cosine, sine = bits_of(cosines[row, pair]), bits_of(sines[row, pair])
            found[row, 2 * pair] = narrow(add(_product(even, cosine), negative(_product(odd, sine)), FP32))
            found[row, 2 * pair + 1] = narrow(add(_product(odd, cosine), _product(even, sine), FP32))


@jit
def _product(a: int, b: int) -> int:
    return multiply(a, FP16, b, FP16, FP32)
