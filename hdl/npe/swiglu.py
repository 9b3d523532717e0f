"""SwiGLU: SiLU of the gate, rounded to FP16, times the up projection."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.silu import Silu
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import place
from skipopu.spec.number_format import FP16


class Swiglu(Unit):
    """SiLU(gate) · up (`numerics.swiglu.swiglu`); seven DSP48E2, those of `Silu` and one for 11 × 11 bits.

    Parameters
    ----------
    stages : latency in cycles of the steps of `Silu` and `FloatMultiplier`

    Ports
    -----
    gate, up : in, FP16 · result : out, FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Silu.STEPS + FloatMultiplier.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"gate": In(FP16.bits), "up": In(FP16.bits), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """The up projection waits for the gate's SiLU."""
        m = Module()
        first, last = shares((Silu.STEPS, FloatMultiplier.STEPS), self._stages)
        silu = place(m, "silu", Silu(stages=first))
        block = FloatMultiplier(a_format="fp16", b_format="fp16", format="fp16", stages=last)
        multiplier = place(m, "multiplier", block)
        m.d.comb += [
            silu.number.eq(self.gate), multiplier.a.eq(silu.result),
            multiplier.b.eq(delayed(m, self.up, first, "up")), self.result.eq(multiplier.result),
        ]  # fmt: skip
        return m
