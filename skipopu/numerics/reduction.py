"""The NPE's reduction units: the sum of a tile at a shared exponent, rounded once into FP32."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.conversion import fixed_to_float
from skipopu.numerics.floating_point import FP16, FP32, exponent_of, is_infinite, is_nan, sign_of, significand_of
from skipopu.numerics.jit import jit

TERM_BITS = 23  # magnitude of a term; fewer are shifted up to them, so that alignment costs little
NOTHING = -(1 << 20)  # exponent of a sum without terms
GONE = 31  # alignment shift that leaves nothing
FP16_LAST = -FP16.bias - FP16.fraction_bits  # exponent of an FP16 significand's last bit, less the biased one


class Terms(NamedTuple):
    """What the lanes give to a unit: term · 2^exponent each."""

    terms: NDArray[np.int64]  # [lanes], |term| < 2^TERM_BITS
    exponents: NDArray[np.int64]
    special: NDArray[np.int64]  # [1]: bits of the sum if a term is infinite or NaN, else 0


def new_terms(lanes: int) -> Terms:
    """Return no terms."""
    return Terms(np.zeros(lanes, np.int64), np.zeros(lanes, np.int64), np.zeros(1, np.int64))


@jit
def reduced(t: Terms, count: int) -> int:
    """Return the FP32 bits of the sum of the first ``count`` terms, at most 512.

    Terms lose the bits below the last one of the largest exponent; the sum is rounded once, to nearest even.
    """
    if t.special[0]:
        return int(t.special[0])
    shared = NOTHING
    for lane in range(count):
        if t.terms[lane] != 0:
            shared = max(shared, t.exponents[lane])
    total = 0
    for lane in range(count):
        aligned = abs(t.terms[lane]) >> min(shared - t.exponents[lane], GONE)
        total += -aligned if t.terms[lane] < 0 else aligned
    return fixed_to_float(total, shared, True, FP32) if total else 0


@jit
def put_number(t: Terms, lane: int, bits: int) -> None:
    """The term is an FP16 number."""
    shift = TERM_BITS - FP16.fraction_bits - 1
    magnitude = significand_of(bits, FP16) << shift
    t.terms[lane] = -magnitude if sign_of(bits, FP16) else magnitude
    t.exponents[lane] = exponent_of(bits, FP16) + FP16_LAST - shift
    _note_special(t, bits, sign_of(bits, FP16) == 1)


@jit
def put_square(t: Terms, lane: int, bits: int) -> None:
    """The term is the square of an FP16 number."""
    significand, shift = significand_of(bits, FP16), TERM_BITS - 2 * (FP16.fraction_bits + 1)
    t.terms[lane] = significand * significand << shift
    t.exponents[lane] = 2 * (exponent_of(bits, FP16) + FP16_LAST) - shift
    _note_special(t, bits, False)


@jit
def _note_special(t: Terms, bits: int, negative: bool) -> None:
    """A NaN, or infinities of both signs, make the sum a NaN."""
    infinity = FP32.infinity | (FP32.sign if negative else 0)
    opposed = t.special[0] != 0 and t.special[0] != infinity
    if is_nan(bits, FP16) or (is_infinite(bits, FP16) and opposed):
        t.special[0] = FP32.nan
    elif is_infinite(bits, FP16):
        t.special[0] = infinity
