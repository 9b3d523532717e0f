"""Every case of the packing, through pack, DSP48E2 and recovery, against plain products.

``numerics.packing`` is right where these counts are 0: 2^33 triples for FP16 weights, 2^20 for INT4.
"""

import numba

from skipopu.numerics.jit import jit, jit_parallel
from skipopu.numerics.packing import (
    PREADD_BITS,
    RESULT_BITS,
    fp16_correction,
    fp16_lower,
    fp16_preadd,
    fp16_result,
    fp16_upper,
    in_signed,
    int4_lower,
    int4_magnitude,
    int4_negative,
    int4_preadd,
    int4_result,
    int4_upper,
)

SIGNIFICANDS = 1 << 11


@jit
def fp16_wrong(u0: int, u1: int, w: int) -> bool:
    """A product is not recovered, or a port is too narrow."""
    result = fp16_result(u0, u1, w)
    recovered = (fp16_lower(result, u0, w) == u0 * w) & (fp16_upper(result, u1, w) == u1 * w)
    fits = in_signed(fp16_preadd(u0, u1), PREADD_BITS) & in_signed(fp16_correction(u0, u1, w), RESULT_BITS)
    return not (recovered & fits)


@jit
def int4_wrong(w0: int, w1: int, u: int, negative: bool) -> bool:
    """A product is not recovered in sign and magnitude, or a port is too narrow."""
    result = int4_result(w0, w1, u)
    activation = -u if negative else u
    recovered = _signed(int4_lower(result), negative) == w0 * activation
    recovered &= _signed(int4_upper(result), negative) == w1 * activation
    return not (recovered & in_signed(int4_preadd(w0, w1), PREADD_BITS))


@jit
def _signed(product: int, activation_negative: bool) -> int:
    magnitude = int4_magnitude(product)
    return -magnitude if int4_negative(product, activation_negative) else magnitude


@jit
def _wrong_pairs(u0: int) -> int:
    wrong = 0
    for u1 in range(SIGNIFICANDS):
        for w in range(SIGNIFICANDS):
            wrong += fp16_wrong(u0, u1, w)
    return wrong


@jit_parallel
def fp16_mismatches(first: int, last: int) -> int:
    """Count the wrong triples with first ≤ u0 < last, any u1, any w; all of them: 0, 2048."""
    wrong = 0
    for u0 in numba.prange(first, last):
        wrong += _wrong_pairs(u0)
    return wrong


@jit
def int4_mismatches() -> int:
    """Count the wrong cases over both weights, all significands and both signs of the activation."""
    wrong = 0
    for w0 in range(-8, 8):
        for w1 in range(-8, 8):
            for u in range(SIGNIFICANDS):
                wrong += int4_wrong(w0, w1, u, False)
                wrong += int4_wrong(w0, w1, u, True)
    return wrong
