"""Floating-point addition as a part of function units."""

from skipopu.hdl.float_adder import FloatAdder
from skipopu.hdl.npe.unit import Unit


class FloatAddition(Unit, FloatAdder):
    """The accumulators' adder, a + b, under a name that tells its settings apart (`numerics.psum.add`).

    Parameters
    ----------
    format : "fp32" or "fp16"
    stages : latency in cycles of the steps align, add, normalise, round
    registered_output : False: the last register is that of whatever stores the result, latency is stages − 1

    Ports
    -----
    a, b : in · result : out, numbers of the format

    Timing
    ------
    Latency ``stages``, or ``stages`` − 1 without the output register; initiation interval 1, no reset.
    """

    STEPS = 4
