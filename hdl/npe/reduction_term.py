"""Reduction term: what a lane gives to a reduction unit for an FP16 number, itself or its square."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import fields
from skipopu.hdl.npe.reduction import SQUARE_SHIFT, TERM
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named
from skipopu.numerics.reduction import FP16_LAST, TERM_BITS
from skipopu.spec.number_format import FP16

NUMBER_SHIFT = TERM_BITS - FP16.significand_bits


class ReductionTerm(Unit):
    """An FP16 number or its square as a term (`numerics.reduction.put_number`, `put_square`).

    11 × 11 bits are one DSP48E2 (27 × 18 signed).

    Parameters
    ----------
    stages : latency in cycles of the one step

    Ports
    -----
    number : in, FP16 · square (1) : in, the term is the square
    term : out, `TERM`

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 1

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"number": In(FP16.bits), "square": In(1), "term": Out(TERM)})

    def elaborate(self, platform: Any) -> Module:
        """Significand or its square, shifted up."""
        m = Module()
        number = fields(m, self.number, FP16, "number")
        squared = named(m, number.significand * number.significand, "squared")
        exponent = number.exponent + FP16_LAST
        term = Signal(TERM, name="term_now")
        m.d.comb += [
            term.magnitude.eq(Mux(
                self.square, Cat(Const(0, SQUARE_SHIFT), squared), Cat(Const(0, NUMBER_SHIFT), number.significand)
            )),
            term.exponent.eq(Mux(self.square, (exponent << 1) - SQUARE_SHIFT, exponent - NUMBER_SHIFT)),
            term.negative.eq(number.negative & ~self.square), term.nan.eq(number.nan),
            term.infinite.eq(number.infinite), self.term.eq(delayed(m, term, self._stages, "term")),
        ]  # fmt: skip
        return m
