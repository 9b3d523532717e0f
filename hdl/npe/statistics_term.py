"""Statistics term: what a lane gives to the reduction units, a number's square or a score's power."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import PowerBelow
from skipopu.hdl.npe.reduction import TERM
from skipopu.hdl.npe.reduction_term import ReductionTerm
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.spec.number_format import FP16


class StatisticsTerm(Unit):
    """x² or e^(x − maximum) as a term of reduction unit 0, and x as a term of unit 1.

    Parameters
    ----------
    numbers : there is a unit 1
    stages : latency in cycles of the steps of `PowerBelow`; the square waits for the power

    Ports
    -----
    number : in, FP16 · scores (1) : in, it is a score · maximum : in, FP16, that of its row
    term : out, `TERM` · number_term : out, `TERM`, with ``numbers``

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = PowerBelow.STEPS

    def __init__(self, *, numbers: bool, stages: int) -> None:
        self._numbers, self._stages = numbers, stages
        super().__init__({
            "number": In(FP16.bits), "scores": In(1), "maximum": In(FP16.bits), "term": Out(TERM),
            **({"number_term": Out(TERM)} if numbers else {}),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Both, then the choice."""
        m = Module()
        power = place(m, "power", PowerBelow(stages=self._stages))
        square = place(m, "square", ReductionTerm(stages=self._stages))
        scores = delayed(m, self.scores, self._stages, "scores")
        power_term = Signal(TERM, name="power_term")
        m.d.comb += [
            power.score.eq(self.number), power.maximum.eq(self.maximum),
            square.number.eq(self.number), square.square.eq(1),
            power_term.magnitude.eq(power.significand), power_term.exponent.eq(power.exponent - FRACTION_BITS),
            self.term.as_value().eq(named(m, Mux(scores, power_term.as_value(), square.term.as_value()), "chosen")),
        ]  # fmt: skip
        if self._numbers:
            plain = place(m, "plain", ReductionTerm(stages=self._stages))
            m.d.comb += [plain.number.eq(self.number), plain.square.eq(0), self.number_term.eq(plain.term)]
        return m
