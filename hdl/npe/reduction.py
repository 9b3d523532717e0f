"""Reduction: the sum of a tile's terms at a shared exponent, rounded once into FP32."""

from collections.abc import Iterable
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.exponential import LEAST_EXPONENT
from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.rounding import Rounding
from skipopu.hdl.npe.unit import Unit, combined, levels, shares
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import place
from skipopu.numerics.line_table import FRACTION_BITS
from skipopu.numerics.reduction import FP16_LAST, GONE, TERM_BITS
from skipopu.spec.number_format import FP16

SQUARE_SHIFT = TERM_BITS - 2 * FP16.significand_bits
LEAST = LEAST_EXPONENT - FRACTION_BITS  # exponent of a term: that of the least power,
MOST = 2 * ((1 << FP16.exponent_bits) - 1 + FP16_LAST) - SQUARE_SHIFT  # that of the largest square
TERM_EXPONENT = signed((-LEAST).bit_length() + 1)

TERM = data.StructLayout({  # ±magnitude · 2^exponent; a zero has any exponent
    "magnitude": TERM_BITS, "negative": 1, "exponent": TERM_EXPONENT, "nan": 1, "infinite": 1,
})  # fmt: skip


class Reduction(Unit):
    """The sum of ``lanes`` terms (`numerics.reduction.reduced`).

    Terms lose the bits below the last one of the largest exponent; the sum is rounded once, to nearest even. A NaN, or
    infinities of both signs, make it a NaN.

    Parameters
    ----------
    lanes : terms of a tile, at least 2
    stages : latency in cycles of the steps find the largest exponent (a step a level of the tree), subtract, shift, add
        (a step a level), magnitude, count zeros, normalise, round

    Ports
    -----
    term : in, ``lanes`` × `TERM` · result : out, FP32

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    def __init__(self, *, lanes: int, stages: int) -> None:
        self._lanes, self._stages = lanes, stages
        super().__init__({"term": In(data.ArrayLayout(TERM, lanes)), "result": Out(FP32.bits)})

    def elaborate(self, platform: Any) -> Module:
        """Tree of maxima, alignment, tree of sums, rounding."""
        m = Module()
        depth = levels(self._lanes)
        maximum, align, add, last = shares((depth, 2, depth, 1 + Rounding.STEPS), self._stages)
        magnitude, rest = shares((1, Rounding.STEPS), last)
        shared = self._shared(m, registers(depth, maximum))
        addends = self._addends(m, shared, maximum, registers(2, align))
        total = combined(m, addends, self._added, registers(depth, add), "sum")
        width = TERM_BITS + depth
        rounding = place(m, "rounding", Rounding(
            bits=width, zeros=width - 1, exponents=(LEAST, MOST), format="fp32", stages=rest
        ))  # fmt: skip
        special = delayed(m, self._special(m), maximum + align + add, "special")
        absolute = named(m, Mux(total < 0, -total, total)[:width], "magnitude")
        negative = named(m, Mux(special[1], special[2], total < 0), "negative")
        m.d.comb += [
            rounding.magnitude.eq(delayed(m, absolute, magnitude, "magnitude")),
            rounding.exponent.eq(delayed(m, shared, align + add + magnitude, "shared")),
            rounding.negative.eq(delayed(m, negative, magnitude, "negative")),
            Cat(rounding.nan, rounding.infinite).eq(delayed(m, special, magnitude, "last_special")),
            self.result.eq(rounding.result),
        ]
        return m

    def _terms(self) -> Iterable[tuple[int, Any]]:
        return ((lane, self.term[lane]) for lane in range(self._lanes))

    def _shared(self, m: Module, cuts: list[int]) -> Value:
        """The largest exponent of a term that is not zero."""
        exponents = [
            named(m, self._exponent(term), f"exponent{lane}", TERM_EXPONENT) for lane, term in self._terms()
        ]  # fmt: skip
        shared: Value = combined(m, exponents, lambda a, b: Mux(a > b, a, b), cuts, "maximum")
        return shared

    def _exponent(self, term: Any) -> Value:
        return Mux(term.magnitude.any(), term.exponent, LEAST)

    def _addends(self, m: Module, shared: Value, wait: int, cuts: list[int]) -> list[Value]:
        """The terms in units of the shared exponent, signed."""
        subtract, shift = cuts
        found = []
        for lane, each in self._terms():
            term = data.View(TERM, delayed(m, each.as_value(), wait, f"term{lane}"))
            places = delayed(m, named(m, self._places(shared, term), f"places{lane}"), subtract, f"places{lane}")
            magnitude = delayed(m, term.magnitude, subtract, f"magnitude{lane}")
            negative = delayed(m, term.negative, subtract, f"negative{lane}")
            aligned = named(m, magnitude >> places, f"aligned{lane}")
            addend = named(m, Mux(negative, -aligned, aligned), f"addend{lane}", signed(TERM_BITS + 1))
            found.append(delayed(m, addend, shift, f"addend{lane}"))
        return found

    def _places(self, shared: Value, term: Any) -> Value:
        """Places to shift; `GONE` leaves nothing of a term."""
        distance = shared - term.exponent
        return Mux(distance > GONE, GONE, distance)[: GONE.bit_length()]

    def _added(self, a: Value, b: Value) -> Value:
        return a + b

    def _special(self, m: Module) -> Value:
        """Bits nan, infinite, its sign."""
        nan = Cat(term.nan for _, term in self._terms()).any()
        plus, minus = (
            Cat(term.infinite & (term.negative == sign) for _, term in self._terms()).any() for sign in (0, 1)
        )
        return named(m, Cat(nan | plus & minus, plus | minus, minus), "special")
