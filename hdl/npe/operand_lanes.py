"""Operand lanes: a row tile becomes normalised numbers, or probabilities, or stays what it is."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.normalization import LayerNormalization, RmsNormalization
from skipopu.hdl.npe.probability import Probability, TotalReciprocal
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place
from skipopu.spec.npe import Npe
from skipopu.spec.number_format import FP16


class OperandLanes(Block):
    """A row tile a cycle through one of two functions, or past them (`numerics.normalization`, `numerics.softmax`).

    Parameters
    ----------
    lanes : numbers of a tile
    npe : its stages, and whether there is LayerNorm instead of RMSNorm

    Ports
    -----
    number, gamma, with ``npe.layer_norm`` beta : in, ``lanes`` × FP16
    inverse, with ``npe.layer_norm`` mean (FP32) : in, statistics of the tile's row of numbers
    maximum (FP16), total (FP32) : in, statistics of its row of scores
    changes (1) : in, the tile is changed; else it passes by
    probability (1) : in, into probabilities, else it is normalised; steady while changed tiles are on their way
    result : out, ``lanes`` × FP16

    Timing
    ------
    Latency ``npe.operand_latency`` on every way, initiation interval 1, no reset.
    """

    def __init__(self, *, lanes: int, npe: Npe) -> None:
        self._lanes, self._npe = lanes, npe
        tile, word = data.ArrayLayout(FP16.bits, lanes), FP32.bits
        super().__init__({
            "number": In(tile), "gamma": In(tile), **({"beta": In(tile)} if npe.layer_norm else {}),
            "inverse": In(word), **({"mean": In(word)} if npe.layer_norm else {}),
            "maximum": In(FP16.bits), "total": In(word), "changes": In(1), "probability": In(1), "result": Out(tile),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Both functions and a delay line in every lane; the reciprocal of the total is common."""
        m = Module()
        n = self._npe
        reciprocal = place(m, "reciprocal", TotalReciprocal(stages=n.power_stages))
        m.d.comb += reciprocal.total.eq(self.total)
        changes = delayed(m, self.changes, n.operand_latency, "changes")
        choice = named(m, Cat(changes & ~self.probability, changes & self.probability), "choice")
        for k in range(self._lanes):
            normalised = delayed(
                m, self._normalised(m, k), n.operand_latency - n.normalize_latency, f"normalised{k}"
            )  # fmt: skip
            probability = delayed(
                m, self._probability(m, k, reciprocal), n.operand_latency - n.probability_latency, f"probability{k}"
            )  # fmt: skip
            untouched = delayed(m, self.number[k], n.operand_latency, f"number{k}")
            m.d.comb += self.result[k].eq(Mux(choice[0], normalised, Mux(choice[1], probability, untouched)))
        return m

    def _normalised(self, m: Module, k: int) -> Value:
        n = self._npe
        block: Any = RmsNormalization(scale_stages=n.scale_stages, gamma_stages=n.gamma_stages)
        if n.layer_norm:
            block = LayerNormalization(
                add_stages=n.add_stages, scale_stages=n.scale_stages, narrow_stages=n.narrow_stages
            )
        lane = place(m, f"normalization{k}", block)
        if n.layer_norm:
            m.d.comb += [lane.mean.eq(self.mean), lane.beta.eq(self.beta[k])]
        m.d.comb += [lane.number.eq(self.number[k]), lane.gamma.eq(self.gamma[k]), lane.inverse.eq(self.inverse)]
        result: Value = lane.result
        return result

    def _probability(self, m: Module, k: int, reciprocal: Any) -> Value:
        n = self._npe
        block = Probability(power_stages=n.power_stages, divide_stages=n.divide_stages)
        lane = place(m, f"probability{k}", block)
        m.d.comb += [
            lane.score.eq(self.number[k]), lane.maximum.eq(self.maximum),
            lane.inverse.eq(reciprocal.inverse), lane.exponent.eq(reciprocal.exponent),
        ]  # fmt: skip
        result: Value = lane.result
        return result
