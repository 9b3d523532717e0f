"""Floating-point adder: IEEE 754 addition in the format of the partial sums, round to nearest, ties to even."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.leading_zeros import leading_zeros
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import Block
from skipopu.spec.number_format import FORMATS

GUARD = 3  # guard, round and sticky bit below the significand


class FloatAdder(Block):
    """a + b with subnormals, infinities and NaN; every NaN out is the canonical one.

    Parameters
    ----------
    format : "fp32" or "fp16"
    stages : latency in cycles of the steps align, add, normalise, round
    registered_output : False: the last register is that of whatever stores the result, latency is stages − 1

    Ports
    -----
    a, b : in · result : out, numbers of the format

    Timing
    ------
    Latency ``stages``, or ``stages`` − 1 without the output register; initiation interval 1, no reset.
    """

    def __init__(self, *, format: str, stages: int, registered_output: bool = True) -> None:
        self._format, self._stages, self._last = FORMATS[format], stages, registered_output
        bits = self._format.bits
        super().__init__({"a": In(bits), "b": In(bits), "result": Out(bits)})

    def elaborate(self, platform: Any) -> Module:
        """Four steps with their registers between them."""
        m = Module()
        steps: dict[str, Callable[..., dict[str, Value]]] = {}
        steps |= {"add": self._add, "normalise": self._normalise, "round": self._round}
        *cuts, last = registers(1 + len(steps), self._stages)
        state = self._align(m)
        for cut, (name, step) in zip(cuts, steps.items(), strict=True):
            state = step(m, **{key: delayed(m, value, cut, f"{name}_{key}") for key, value in state.items()})
        m.d.comb += self.result.eq(delayed(m, state["result"], last - (not self._last), "result"))
        return m

    def _align(self, m: Module) -> dict[str, Value]:
        """Larger magnitude first; the smaller one shifted right to its exponent, what falls off stays as sticky."""
        f = self._format
        body = f.bits - 1
        swap = self.a[:body] < self.b[:body]
        large = named(m, Mux(swap, self.b, self.a), "larger")
        small = named(m, Mux(swap, self.a, self.b), "smaller")
        exponent, significand = self._fields(m, large, "larger")
        small_exponent, small_significand = self._fields(m, small, "smaller")
        most = f.significand_bits + GUARD
        gap = named(m, exponent - small_exponent, "gap", f.exponent_bits)
        places = Mux(gap > most, most, gap)[: most.bit_length()]
        wide = Cat(Const(0, most + GUARD), small_significand)
        shifted = named(m, wide >> places, "shifted", len(wide))
        aligned = named(m, Cat(shifted[most] | shifted[:most].any(), shifted[most + 1 :]), "aligned")
        return {
            "large": named(m, Cat(Const(0, GUARD), significand), "wide_large"), "small": aligned,
            "exponent": exponent, "negative": large[-1], "subtract": large[-1] ^ small[-1],
            "special": self._special(m),
        }  # fmt: skip

    def _fields(self, m: Module, number: Value, name: str) -> tuple[Value, Value]:
        """Exponent, that of a subnormal being 1, and significand with its hidden one."""
        f = self._format
        field = number[f.fraction_bits : -1]
        exponent = named(m, Mux(field.any(), field, 1), f"{name}_exponent", f.exponent_bits)
        return exponent, named(m, Cat(number[: f.fraction_bits], field.any()), f"{name}_significand")

    def _special(self, m: Module) -> Value:
        """Bits nan, infinite, its sign."""
        f = self._format
        full = [each[f.fraction_bits : -1].all() for each in (self.a, self.b)]
        some = [each[: f.fraction_bits].any() for each in (self.a, self.b)]
        infinite = [e & ~s for e, s in zip(full, some, strict=True)]
        nan = full[0] & some[0] | full[1] & some[1] | infinite[0] & infinite[1] & (self.a[-1] ^ self.b[-1])
        sign = Mux(infinite[0], self.a[-1], self.b[-1])
        return named(m, Cat(nan, infinite[0] | infinite[1], sign), "special")

    def _add(self, m: Module, large: Value, small: Value, subtract: Value, **s: Value) -> dict[str, Value]:
        total = named(m, Mux(subtract, large - small, large + small), "total", len(large) + 1)
        # an exact zero of opposite signs is +0
        s["negative"] = named(m, s["negative"] & ~(subtract & ~total.any()), "sum_negative")
        return {"total": total, **s}

    def _normalise(self, m: Module, total: Value, exponent: Value, **s: Value) -> dict[str, Value]:
        """Leading one in its place, unless the exponent would fall below that of a subnormal."""
        carry, below = total[-1], total[:-1]
        zeros = leading_zeros(below)
        most = exponent - 1
        places = named(m, Mux(zeros > most, most, zeros), "places", len(zeros))
        left = (below << places)[: len(below)]
        right = Cat(below[0] | below[1], below[2:], Const(1, 1))
        return {
            "significand": named(m, Mux(carry, right, left), "significand"),
            "exponent": named(m, Mux(carry, exponent + 1, exponent - places), "normal_exponent", len(exponent) + 1),
            **s,
        }

    def _round(
        self, m: Module, significand: Value, exponent: Value, negative: Value, special: Value
    ) -> dict[str, Value]:
        f = self._format
        kept = significand[GUARD:]
        up = self._round_up(significand)
        field = Mux(significand[-1], exponent - 1, 0)  # a subnormal, or zero, has no hidden one
        rounded = named(m, (field << f.fraction_bits) + kept + up, "rounded", f.bits + 1)
        body = Mux(rounded >= f.infinity, f.infinity, rounded)[: f.bits - 1]
        infinite = Cat(Const(f.infinity, f.bits - 1), special[2])
        result = Mux(special[0], Const(f.nan, f.bits), Mux(special[1], infinite, Cat(body, negative)))
        return {"result": named(m, result, "sum", f.bits)}

    def _round_up(self, significand: Value) -> Value:
        """Nearest, ties to even."""
        return significand[GUARD - 1] & (significand[: GUARD - 1].any() | significand[GUARD])
