"""Rotary position embedding of a pair of FP16 numbers."""

from typing import Any

from amaranth.hdl import Cat, Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.narrowing import Narrowing
from skipopu.hdl.npe.unit import Unit, shares
from skipopu.hdl.verilog import place
from skipopu.spec.number_format import FP16


class Rotary(Unit):
    """A pair turned by an angle (`numerics.rotary.rotate`): exact products, one FP32 addition, one rounding.

    Four multiplications of 11 × 11 bits, a DSP48E2 (27 × 18 signed) each.

    Parameters
    ----------
    stages : latency in cycles of the steps of `FloatMultiplier`, `FloatAddition`, `Narrowing`

    Ports
    -----
    even, odd : in, the pair · cosine, sine : in, of the angle
    turned_even, turned_odd : out, the pair turned; all FP16

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = FloatMultiplier.STEPS + FloatAddition.STEPS + Narrowing.STEPS

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        ins = {name: In(FP16.bits) for name in ("even", "odd", "cosine", "sine")}
        super().__init__({**ins, "turned_even": Out(FP16.bits), "turned_odd": Out(FP16.bits)})

    def elaborate(self, platform: Any) -> Module:
        """even · cosine − odd · sine, odd · cosine + even · sine."""
        m = Module()
        first, add, last = shares((FloatMultiplier.STEPS, FloatAddition.STEPS, Narrowing.STEPS), self._stages)
        products = {
            f"{number}_{angle}": self._product(m, number, angle, first)
            for number in ("even", "odd") for angle in ("cosine", "sine")
        }  # fmt: skip
        for name, a, b in (
            ("even", products["even_cosine"], self._negative(m, products["odd_sine"])),
            ("odd", products["odd_cosine"], products["even_sine"]),
        ):
            addition = place(m, f"{name}_addition", FloatAddition(format="fp32", stages=add))
            narrowing = place(m, f"{name}_narrowing", Narrowing(stages=last))
            m.d.comb += [
                addition.a.eq(a), addition.b.eq(b), narrowing.number.eq(addition.result),
                getattr(self, f"turned_{name}").eq(narrowing.result),
            ]  # fmt: skip
        return m

    def _product(self, m: Module, number: str, angle: str, stages: int) -> Value:
        block = FloatMultiplier(a_format="fp16", b_format="fp16", format="fp32", stages=stages)
        multiplier = place(m, f"{number}_{angle}", block)
        m.d.comb += [multiplier.a.eq(getattr(self, number)), multiplier.b.eq(getattr(self, angle))]
        result: Value = multiplier.result
        return result

    def _negative(self, m: Module, product: Value) -> Value:
        """−x; a NaN stays as it is."""
        return Cat(product[:-1], product[-1] ^ ~fields(m, product, FP32, "product").nan)
