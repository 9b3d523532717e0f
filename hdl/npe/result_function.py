"""Result function: what is done to a pair of neighbouring results, even and odd lane."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.gelu import Gelu
from skipopu.hdl.npe.result_operation import FUNCTION_BITS
from skipopu.hdl.npe.rotary import Rotary
from skipopu.hdl.npe.swiglu import Swiglu
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.program.isa import Post
from skipopu.spec.number_format import FP16


class ResultFunction(Unit):
    """A pair as it is, rectified, rotated, gated, or through GELU; all side by side, the wanted one is chosen.

    Parameters
    ----------
    gelu : whether there is a GELU
    stages : latency in cycles; each function spreads its own steps over it

    Ports
    -----
    even, odd, cosine, sine : in, FP16 · rectify (1) : in, beside them
    post : in, beside the results, `Post`
    result_even, result_odd : out, FP16
    gated : out, SiLU(even) · odd, FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = Swiglu.STEPS

    def __init__(self, *, gelu: bool, stages: int) -> None:
        self._gelu, self._stages = gelu, stages
        numbers = {name: In(FP16.bits) for name in ("even", "odd", "cosine", "sine")}
        results = {name: Out(FP16.bits) for name in ("result_even", "result_odd", "gated")}
        super().__init__({**numbers, "rectify": In(1), "post": In(FUNCTION_BITS), **results})

    def elaborate(self, platform: Any) -> Module:
        """Units beside a delay line."""
        m = Module()
        rotary, swiglu = (
            place(m, "rotary", Rotary(stages=self._stages)),
            place(m, "swiglu", Swiglu(stages=self._stages)),
        )
        m.d.comb += [getattr(rotary, name).eq(getattr(self, name)) for name in ("even", "odd", "cosine", "sine")]
        gate, up = self._gate_and_up()
        m.d.comb += [swiglu.gate.eq(gate), swiglu.up.eq(up), self.gated.eq(swiglu.result)]
        for name in ("even", "odd"):
            number = getattr(self, name)
            plain = named(m, Mux(self.rectify, self._rectified(number), number), f"plain_{name}")
            found = delayed(m, plain, self._stages, f"plain_{name}")
            found = Mux(self.post == Post.ROPE, getattr(rotary, f"turned_{name}"), found)
            if self._gelu:
                gelu = place(m, f"{name}_gelu", Gelu(stages=self._stages))
                m.d.comb += gelu.number.eq(number)
                found = Mux(self.post == Post.GELU, gelu.result, found)
            m.d.comb += getattr(self, f"result_{name}").eq(found)
        return m

    def _gate_and_up(self) -> tuple[Value, Value]:
        return self.even, self.odd

    def _rectified(self, number: Value) -> Value:
        """Zero for what is negative, −0 too; the canonical NaN has no sign and stays."""
        return Mux(number[-1], Const(0, FP16.bits), number)
