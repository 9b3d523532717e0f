"""Inverse deviation: from the sums of a row to what its numbers are multiplied by."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.reciprocal import Fp32Root
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place


class InverseDeviation(Unit):
    """1/√(Σx²/D − mean² + ε) (`numerics.normalization`); without ``layer_norm`` the mean counts as zero.

    Parameters
    ----------
    layer_norm : there are means
    scale_stages, add_stages, root_stages : of the multipliers, the adders, the root

    Ports
    -----
    squares : in, FP32, Σx² of a row · numbers : in, FP32, Σx, with ``layer_norm``
    share, epsilon : in, FP32, 1/D and ε, steady while a row is on its way
    inverse : out, FP32 · mean : out, FP32, with ``layer_norm``

    Timing
    ------
    Latency ``latency``: multiply, (multiply, add,) add, root. Initiation interval 1, no reset.
    """

    def __init__(self, *, layer_norm: bool, scale_stages: int, add_stages: int, root_stages: int) -> None:
        self._layer_norm = layer_norm
        self._scale, self._add, self._root = scale_stages, add_stages, root_stages
        centre = scale_stages + add_stages if layer_norm else 0
        self.latency = centre + scale_stages + add_stages + root_stages
        word = FP32.bits
        super().__init__({
            "squares": In(word), "share": In(word), "epsilon": In(word), "inverse": Out(word),
            **({"numbers": In(word), "mean": Out(word)} if layer_norm else {}),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Means of the sums, their difference, ε, the root."""
        m = Module()
        variance = self._product(m, "mean_square", self.squares, self.share)
        if self._layer_norm:
            variance = self._centred(m, variance)
        root = place(m, "root", Fp32Root(stages=self._root))
        m.d.comb += [root.number.eq(self._sum(m, "biased", variance, self.epsilon)), self.inverse.eq(root.result)]
        return m

    def _centred(self, m: Module, mean_square: Value) -> Value:
        """The variance: the square of the mean taken off; below zero it is zero."""
        mean = self._product(m, "row_mean", self.numbers, self.share)
        squared = self._product(m, "mean_squared", mean, mean)
        m.d.comb += self.mean.eq(delayed(m, mean, self.latency - self._scale, "mean"))
        variance = self._sum(m, "variance", delayed(m, mean_square, self._scale, "mean_square"), negated(m, squared))
        positive: Value = named(m, Mux(self._below_zero(m, variance), 0, variance), "positive", FP32.bits)
        return positive

    def _below_zero(self, m: Module, variance: Value) -> Value:
        """The rounding of the sums was larger than the variance."""
        return variance[-1] & ~fields(m, variance, FP32, "variance").nan

    def _product(self, m: Module, name: str, a: Value, b: Value) -> Value:
        block = FloatMultiplier(a_format="fp32", b_format="fp32", format="fp32", stages=self._scale)
        multiplier = place(m, name, block)
        m.d.comb += [multiplier.a.eq(a), multiplier.b.eq(b)]
        result: Value = multiplier.result
        return result

    def _sum(self, m: Module, name: str, a: Value, b: Value) -> Value:
        adder = place(m, name, FloatAddition(format="fp32", stages=self._add))
        m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
        result: Value = adder.result
        return result


def negated(m: Module, number: Value) -> Value:
    """Return −x of an FP32 number; a NaN stays as it is."""
    return Cat(number[:-1], number[-1] ^ ~fields(m, number, FP32, "subtrahend").nan)
