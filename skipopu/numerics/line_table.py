"""Functions as tables of lines: the leading bits of the argument choose a line, the others go along it.

All numbers are integers. Coefficients come from `decimal`, so that every machine generates the same table.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import jit

DIGITS = 40  # decimal digits of the generation
INDEX_BITS = 7
FRACTION_BITS = 22  # of what a table returns
Function = Callable[[Decimal], Decimal]


class LineTable(NamedTuple):
    """Lines of a function of [0, 1): value at a segment's begin and its change to the segment's end."""

    base: NDArray[np.int64]  # [2^INDEX_BITS], in units of 2^−FRACTION_BITS
    slope: NDArray[np.int64]


def line_table(function: Function) -> LineTable:
    """Return the table of ``function``, which is defined on [0, 1] and nearly parabolic on a segment.

    A segment's line has its chord's slope and lies between chord and function, so that the errors at the ends and
    in the middle are alike.
    """
    with localcontext() as context:
        context.prec = DIGITS
        segments = 1 << INDEX_BITS
        ends = [function(Decimal(n) / segments) for n in range(segments + 1)]
        middles = [function((Decimal(n) + Decimal("0.5")) / segments) for n in range(segments)]
        chords = list(pairwise(ends))
        bases = [_units(a + (middle - (a + b) / 2) / 2) for middle, (a, b) in zip(middles, chords, strict=True)]
        slopes = [_units(b - a) for a, b in chords]
    return LineTable(np.array(bases, np.int64), np.array(slopes, np.int64))


def _units(value: Decimal) -> int:
    return int((value * (1 << FRACTION_BITS)).to_integral_value())


@jit
def along_line(table: LineTable, argument: int, bits: int) -> int:
    """Return the function at argument · 2^−bits, in units of 2^−FRACTION_BITS; ``bits`` ≥ INDEX_BITS."""
    rest = bits - INDEX_BITS
    segment, step = argument >> rest, argument & ((1 << rest) - 1)
    return int(table.base[segment] + (table.slope[segment] * step >> rest))
