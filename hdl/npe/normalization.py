"""Normalisation of one number on its way into the PE array, RMSNorm's or LayerNorm's."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.inverse_deviation import negated
from skipopu.hdl.npe.narrowing import Narrowing, Widening
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import place
from skipopu.spec.number_format import FP16


class RmsNormalization(Unit):
    """x · inverse · gamma (`numerics.normalization.rms_norm`), FP32 between, in two DSP48E2 of 24 × 11 bits.

    Parameters
    ----------
    scale_stages : latency in cycles of x · inverse
    gamma_stages : of the multiplication with gamma

    Ports
    -----
    number, gamma : in, FP16 · inverse : in, FP32 · result : out, FP16

    Timing
    ------
    Latency ``scale_stages`` + ``gamma_stages``, initiation interval 1, no reset.
    """

    STEPS = 2 * FloatMultiplier.STEPS

    def __init__(self, *, scale_stages: int, gamma_stages: int) -> None:
        self._scale, self._gamma = scale_stages, gamma_stages
        super().__init__({
            "number": In(FP16.bits), "gamma": In(FP16.bits), "inverse": In(FP32.bits), "result": Out(FP16.bits)
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Two products."""
        m = Module()
        formats = {"a_format": "fp32", "b_format": "fp16"}
        scaled = place(m, "scaled", FloatMultiplier(**formats, format="fp32", stages=self._scale))
        weighted = place(m, "weighted", FloatMultiplier(**formats, format="fp16", stages=self._gamma))
        m.d.comb += [
            scaled.a.eq(self.inverse), scaled.b.eq(self.number), weighted.a.eq(scaled.result),
            weighted.b.eq(self._gamma_then(m)), self.result.eq(weighted.result),
        ]  # fmt: skip
        return m

    def _gamma_then(self, m: Module) -> Value:
        """The number's gamma, when the number has been scaled."""
        gamma: Value = delayed(m, self.gamma, self._scale, "gamma")
        return gamma


class LayerNormalization(Unit):
    """(x − mean) · inverse · gamma + beta (`numerics.normalization.layer_norm`), rounded to FP32 after each step.

    Three DSP48E2: 24 × 24 bits, then 24 × 11.

    Parameters
    ----------
    add_stages, scale_stages : latency in cycles of the additions, of the multiplications
    narrow_stages : of the rounding to FP16

    Ports
    -----
    number, gamma, beta : in, FP16 · mean, inverse : in, FP32 · result : out, FP16

    Timing
    ------
    Latency 2 · (``add_stages`` + ``scale_stages``) + ``narrow_stages``, initiation interval 1, no reset.
    """

    STEPS = 2 * (FloatMultiplier.STEPS + FloatAddition.STEPS) + Narrowing.STEPS

    def __init__(self, *, add_stages: int, scale_stages: int, narrow_stages: int) -> None:
        self._add, self._scale, self._narrow = add_stages, scale_stages, narrow_stages
        halves = {name: In(FP16.bits) for name in ("number", "gamma", "beta")}
        super().__init__({**halves, "mean": In(FP32.bits), "inverse": In(FP32.bits), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """Subtract, two products, add, round."""
        m = Module()
        add, scale = self._add, self._scale
        centred = self._sum(m, "centred", self._wide(m, "number", self.number), negated(m, self.mean))
        scaled = self._product(m, "scaled", centred, delayed(m, self.inverse, add, "inverse"), "fp32")
        weighted = self._product(m, "weighted", scaled, delayed(m, self.gamma, add + scale, "gamma"), "fp16")
        beta = self._wide(m, "beta", delayed(m, self.beta, add + 2 * scale, "beta"))
        narrowing = place(m, "narrowing", Narrowing(stages=self._narrow))
        m.d.comb += [
            narrowing.number.eq(self._sum(m, "shifted", weighted, beta)), self.result.eq(narrowing.result)
        ]  # fmt: skip
        return m

    def _wide(self, m: Module, name: str, number: Value) -> Value:
        widening = place(m, f"wide_{name}", Widening(stages=0))
        m.d.comb += widening.number.eq(number)
        result: Value = widening.result
        return result

    def _sum(self, m: Module, name: str, a: Value, b: Value) -> Value:
        adder = place(m, name, FloatAddition(format="fp32", stages=self._add))
        m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
        result: Value = adder.result
        return result

    def _product(self, m: Module, name: str, a: Value, b: Value, b_format: str) -> Value:
        block = FloatMultiplier(a_format="fp32", b_format=b_format, format="fp32", stages=self._scale)
        multiplier = place(m, name, block)
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
        result: Value = multiplier.result
        return result
