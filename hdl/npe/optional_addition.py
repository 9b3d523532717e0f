"""Optional addition: a second number is added where there is one."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.verilog import place

NOTHING = 1 << FP32.bits - 1  # −0: added to a number, or to −0, it changes nothing


class OptionalAddition(Unit):
    """a + b, or a as it is; a NaN is the canonical one (`numerics.psum.add`).

    Parameters
    ----------
    stages : latency in cycles of the steps of `FloatAddition`

    Ports
    -----
    a, b : in, FP32 · present (1) : in, b counts · result : out, FP32

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = FloatAddition.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"a": In(FP32.bits), "b": In(FP32.bits), "present": In(1), "result": Out(FP32.bits)})

    def elaborate(self, platform: Any) -> Module:
        """What is not there is −0."""
        m = Module()
        addition = place(m, "addition", FloatAddition(format="fp32", stages=self._stages))
        m.d.comb += [
            addition.a.eq(self.a), addition.b.eq(Mux(self.present, self.b, self._nothing())),
            self.result.eq(addition.result),
        ]  # fmt: skip
        return m

    def _nothing(self) -> Value:
        return Const(NOTHING, FP32.bits)
