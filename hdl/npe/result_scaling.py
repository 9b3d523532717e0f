"""Result scaling: a total becomes an FP16 number: times its scale, plus bias, plus residual."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.narrowing import Narrowing, Widening
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import place
from skipopu.spec.number_format import FP16


class ResultScaling(Unit):
    """narrow(total · scale + bias + residual), each step rounded to FP32 (`numerics.result_path`).

    Two DSP48E2 for 24 × 24 bits.

    Parameters
    ----------
    scale_stages, add_stages, narrow_stages : latency in cycles of multiplication, each addition, narrowing

    Ports
    -----
    total, scale : in, FP32 · bias, residual : in, FP16, −0 where there is none
    number : out, FP16

    Timing
    ------
    Latency ``scale_stages`` + 2 · ``add_stages`` + ``narrow_stages``, initiation interval 1, no reset.
    """

    STEPS = FloatMultiplier.STEPS + 2 * FloatAddition.STEPS + Narrowing.STEPS

    def __init__(self, *, scale_stages: int, add_stages: int, narrow_stages: int) -> None:
        self._scale, self._add, self._narrow = scale_stages, add_stages, narrow_stages
        super().__init__({
            "total": In(FP32.bits), "scale": In(FP32.bits), "bias": In(FP16.bits), "residual": In(FP16.bits),
            "number": Out(FP16.bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Bias and residual wait for their turn as FP16 numbers."""
        m = Module()
        narrowing = place(m, "narrowing", Narrowing(stages=self._narrow))
        biased = self._plus(m, self._scaled(m), delayed(m, self.bias, self._scale, "bias"), "bias")
        residual = delayed(m, self.residual, self._scale + self._add, "residual")
        m.d.comb += [
            narrowing.number.eq(self._plus(m, biased, residual, "residual")), self.number.eq(narrowing.result)
        ]  # fmt: skip
        return m

    def _scaled(self, m: Module) -> Value:
        """The product, an FP32 number."""
        block = FloatMultiplier(a_format="fp32", b_format="fp32", format="fp32", stages=self._scale)
        multiplier = place(m, "multiplier", block)
        m.d.comb += [multiplier.a.eq(self.total), multiplier.b.eq(self.scale)]
        result: Value = multiplier.result
        return result

    def _plus(self, m: Module, number: Value, addend: Value, name: str) -> Value:
        """An addition to an FP32 number; widening takes no time."""
        widening = place(m, f"{name}_widening", Widening(stages=0))
        addition = place(m, f"{name}_addition", FloatAddition(format="fp32", stages=self._add))
        m.d.comb += [widening.number.eq(addend), addition.a.eq(number), addition.b.eq(widening.result)]
        result: Value = addition.result
        return result
