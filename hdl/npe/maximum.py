"""Maximum: the largest of a tile of FP16 numbers and the largest so far."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import fields
from skipopu.hdl.npe.router import at_least
from skipopu.hdl.npe.unit import Unit, combined, levels
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.spec.number_format import FP16


class Maximum(Unit):
    """The running maximum with a tile taken in (`numerics.softmax.larger`); a NaN is larger than all.

    Of equal numbers, −0 and +0, the first stays.

    Parameters
    ----------
    lanes : numbers of a tile
    stages : latency in cycles, spread over the levels of a tree with ``lanes`` + 1 leaves

    Ports
    -----
    running : in, FP16, −∞ where there is nothing yet · number : in, ``lanes`` × FP16, beside it
    result : out, FP16; every NaN is the canonical one

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    def __init__(self, *, lanes: int, stages: int) -> None:
        self._lanes, self._stages = lanes, stages
        words = data.ArrayLayout(FP16.bits, lanes)
        super().__init__({"running": In(FP16.bits), "number": In(words), "result": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """A tree of comparisons; beside it whether there is a NaN."""
        m = Module()
        words = [self.running, *(self.number[lane] for lane in range(self._lanes))]
        *cuts, last = registers(levels(len(words)), self._stages)
        nans = Cat(fields(m, word, FP16, f"number{k}").nan for k, word in enumerate(words))
        nan = delayed(m, named(m, nans.any(), "nan"), sum(cuts), "nan")
        largest = combined(m, words, self._larger, [*cuts, 0], "larger")
        result = named(m, Mux(nan, Const(FP16.nan, FP16.bits), largest), "chosen")
        m.d.comb += self.result.eq(delayed(m, result, last, "result"))
        return m

    def _larger(self, a: Value, b: Value) -> Value:
        return Mux(at_least(a, b), a, b)
