"""SwiGLU: SiLU of the gate, rounded to FP16, times the up projection."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.exponential import POWERS
from skipopu.numerics.floating_point import FP16, bits_of
from skipopu.numerics.jit import jit
from skipopu.numerics.line_table import LineTable
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.reciprocal import RECIPROCALS
from skipopu.numerics.silu import silu_fp16

Bits = NDArray[np.uint16]


def swiglu(gates: Bits, ups: Bits) -> Bits:
    """Return SiLU(gate) · up of FP16 bits of any one shape."""
    found = np.zeros(gates.size, np.uint16)
    _each(np.ravel(gates), np.ravel(ups), POWERS, RECIPROCALS, found)
    return found.reshape(gates.shape)


@jit
def _each(gates: Any, ups: Any, powers: LineTable, reciprocals: LineTable, found: Any) -> None:
    for i in range(len(gates)):
        silu = silu_fp16(bits_of(gates[i]), powers, reciprocals)
        found[i] = multiply(silu, FP16, bits_of(ups[i]), FP16, FP16)
