"""One fault at a time in the RTL of the NPE's function units: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Value

from skipopu.hdl.cosim.npe_function_units import FUNCTIONS
from skipopu.hdl.cosim.npe_functions import cosimulate
from skipopu.hdl.npe import exponential, maximum, router
from skipopu.hdl.npe.exponential import ARGUMENT, REDUCTION, Exponential
from skipopu.hdl.npe.fields import Fields
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.line_table import LineTable
from skipopu.hdl.npe.logistic import Logistic
from skipopu.hdl.npe.maximum import Maximum
from skipopu.hdl.npe.reduction import TERM_EXPONENT, Reduction
from skipopu.hdl.npe.rotary import Rotary
from skipopu.hdl.npe.rounding import Rounding

Method = Callable[..., Any]
SEED = 3
pytestmark = pytest.mark.usefixtures("converted_anew")


def half_away_from_zero(_: Method) -> Method:
    return lambda self, last, half, below: half


def no_sticky(right: Method) -> Method:
    def normalised(self: Rounding, m: Module, magnitude: Value, zeros: Value) -> Value:
        exact = right(self, m, magnitude, zeros)
        return Cat(Const(0, 1), exact[1:])

    return normalised


def infinity_times_zero(_: Method) -> Method:
    def no_number(self: FloatMultiplier, a: Fields, b: Fields) -> Value:
        return a.nan | b.nan

    return no_number


def steep(right: Method) -> Method:
    return lambda self, line, step: right(self, line, step) + step


def leading_one_forgotten(_: Method) -> Method:
    return lambda self: self.argument * 0xE2A9 >> REDUCTION


def wraps(_: Method) -> Method:
    return lambda argument: argument[: ARGUMENT.width].as_signed()


def one_place_less(right: Method) -> Method:
    return lambda self, power, exponent: right(self, power, exponent + 1)


def zeros_take_part(_: Method) -> Method:
    return lambda self, term: term.exponent


def distance_wraps(_: Method) -> Method:
    return lambda self, shared, term: (shared - term.exponent)[: TERM_EXPONENT.width - 3]


def narrow_adder(_: Method) -> Method:
    return lambda self, a, b: (a + b)[: len(a)].as_signed()


def opposed_infinities(right: Method) -> Method:
    return lambda self, m: right(self, m) & 0b110


def last_of_equals(_: Method) -> Method:
    return lambda self, a, b: Mux(router.at_least(b, a), b, a)


def as_integers(_: Method) -> Method:
    return lambda a, b: a.as_signed() >= b.as_signed()


def turns_back(_: Method) -> Method:
    return lambda self, m, product: product


Fault = tuple[Any, str, Callable[[Method], Method], str]
FAULTS: dict[str, Fault] = {
    "rounding takes ties away from zero": (Rounding, "_round_up", half_away_from_zero, "multiplication fp32 fp16 fp16"),
    "zero terms set the shared exponent": (Reduction, "_exponent", zeros_take_part, "reduction"),
}
MORE: dict[str, Fault] = {
    "rounding forgets what is below": (Rounding, "_normalised", no_sticky, "multiplication fp32 fp32 fp32"),
    "∞ · 0 is ∞": (FloatMultiplier, "_no_number", infinity_times_zero, "multiplication fp16 fp16 fp32"),
    "lines are too steep": (LineTable, "_product", steep, "reciprocal"),
    "log2 e has lost its leading one": (Exponential, "_power", leading_one_forgotten, "exponential"),
    "arguments wrap": (exponential, "bounded", wraps, "SiLU"),
    "1 + e^−x is added a place too high": (Logistic, "_one_more", one_place_less, "SiLU"),
    "far terms come back": (Reduction, "_places", distance_wraps, "reduction"),
    "the sum loses a carry": (Reduction, "_added", narrow_adder, "reduction"),
    "∞ − ∞ is ∞": (Reduction, "_special", opposed_infinities, "reduction"),
    "+0 takes the place of −0": (Maximum, "_larger", last_of_equals, "maximum"),
    "negative numbers are compared as integers": (maximum, "at_least", as_integers, "maximum"),
    "negative logits are compared as integers": (router, "at_least", as_integers, "router"),
    "the pair turns the other way": (Rotary, "_negative", turns_back, "rotary"),
}
few = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]


def differences(*names: str) -> list[str]:
    chosen = [f for f in FUNCTIONS if f.name in names]
    return list(cosimulate(chosen, SEED).differences)


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    assert differences(*(fault[-1] for fault in (*FAULTS.values(), *MORE.values()))) == []


@pytest.mark.parametrize(("owner", "attribute", "fault", "function"), [*few, *slow])
def test_the_fault_is_found(
    owner: Any, attribute: str, fault: Callable[[Method], Method], function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, attribute, fault(getattr(owner, attribute)))
    assert differences(function) == [function]
