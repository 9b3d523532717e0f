"""The exponential function: range reduction by a constant, a table of 2^f, a shift."""

from decimal import Decimal, localcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.conversion import round_magnitude
from skipopu.numerics.floating_point import FP16, bits_of, exponent_of, is_infinite, is_nan, sign_of, significand_of
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import DIGITS, FRACTION_BITS, LineTable, along_line, line_table

ARGUMENT_BITS = 18  # fraction of the argument
ARGUMENT_LIMIT = 32 << ARGUMENT_BITS  # beyond, e^−x is below half of FP16's least number, and e^x above its largest
CONSTANT_BITS = 17  # fraction of log2 e
POWER_BITS = 20  # fraction of the binary exponent
FP16_UNIT = FP16.bias + FP16.fraction_bits - 1  # FP16's least number is 2^−FP16_UNIT


def _log2_e() -> int:
    with localcontext() as context:
        context.prec = DIGITS
        return int((Decimal(1 << CONSTANT_BITS) / Decimal(2).ln()).to_integral_value())


LOG2_E = _log2_e()
POWERS: LineTable = line_table(lambda x: Decimal(2) ** x)


@jit
def unbounded_argument(bits: int) -> int:
    """Return an FP16 number in units of 2^−ARGUMENT_BITS, rounded toward zero; infinity as if it were finite."""
    magnitude = significand_of(bits, FP16) << (exponent_of(bits, FP16) - 1) >> (FP16_UNIT - ARGUMENT_BITS)
    return -magnitude if sign_of(bits, FP16) else magnitude


@jit
def bounded(argument: int) -> int:
    """Return ``argument`` within ±ARGUMENT_LIMIT."""
    return min(max(argument, -ARGUMENT_LIMIT), ARGUMENT_LIMIT)


@jit
def fixed_argument(bits: int) -> int:
    """Return an FP16 number in units of 2^−ARGUMENT_BITS, rounded toward zero, within ±ARGUMENT_LIMIT."""
    return bounded(unbounded_argument(bits))


@jit
def exponential(argument: int, powers: LineTable) -> tuple[int, int]:
    """Return e^(argument · 2^−ARGUMENT_BITS) as (significand, exponent): significand · 2^(exponent − FRACTION_BITS).

    The significand has FRACTION_BITS + 1 bits.
    """
    power = argument * LOG2_E >> (ARGUMENT_BITS + CONSTANT_BITS - POWER_BITS)
    exponent, fraction = power >> POWER_BITS, power & ((1 << POWER_BITS) - 1)
    return along_line(powers, fraction, POWER_BITS), exponent


@jit
def exponential_fp16(bits: int, powers: LineTable) -> int:
    """Return the FP16 bits of e^x."""
    if is_nan(bits, FP16):
        return FP16.nan
    if is_infinite(bits, FP16):
        return 0 if sign_of(bits, FP16) else FP16.infinity
    significand, exponent = exponential(fixed_argument(bits), powers)
    return round_magnitude(False, significand, exponent - FRACTION_BITS, True, FP16)


@jit
def _each(bits: Any, powers: LineTable, found: Any) -> None:
    for i in range(len(bits)):
        found[i] = exponential_fp16(bits_of(bits[i]), powers)


def exponentials(bits: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return e^x of FP16 bits, element by element."""
    found = np.zeros(bits.size, np.uint16)
    _each(np.ravel(bits), POWERS, found)
    return found.reshape(bits.shape)
