"""One fault at a time in the RTL of the PE array: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const, Mux, Value

from skipopu.hdl.accumulation_tree import AccumulationTree
from skipopu.hdl.alignment import Alignment
from skipopu.hdl.conversion import Conversion
from skipopu.hdl.cosim.pe_array import cosimulate
from skipopu.hdl.float_adder import FloatAdder
from skipopu.hdl.ker import Ker
from skipopu.hdl.pe import LANE, Pe
from skipopu.hdl.psum import Psum
from skipopu.hdl.shared_exponent import SharedExponent
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
TILES, SEED = 300, 3
pytestmark = pytest.mark.usefixtures("converted_anew")


def no_auxiliary(_: Method) -> Method:
    return lambda self: Const(0, 5)


def no_borrow(_: Method) -> Method:
    return lambda self, p: p[LANE : 2 * LANE].as_signed()


def lost_sign_of_the_upper_product(_: Method) -> Method:
    return lambda self, p: (p >> 21)[:17]


def one_place_too_far(right: Method) -> Method:
    def distance(self: Alignment) -> Value:
        exact = right(self)
        return Mux(exact.any(), exact + 1, 0)[: len(exact)]

    return distance


def zeros_take_part(_: Method) -> Method:
    return lambda self, a, w: a.exponent + w.exponent


def narrow_adder(_: Method) -> Method:
    return lambda self, a, b: (a + b)[: len(a)].as_signed()


def half_away_from_zero(_: Method) -> Method:
    return lambda self, last, half, below: half


def scale_off_by_one(right: Method) -> Method:
    return lambda self: right(self) + 1


def never_rounded(_: Method) -> Method:
    return lambda self, significand: Const(0, 1)


def stays(_: Method) -> Method:
    return lambda self, half: half


def released_at_once(right: Method) -> Method:
    def empty(self: Ker, *arguments: Any) -> Value:
        return right(self, *arguments) | Const(1, 1)

    return empty


FP16_SUMS = ("psum.format=fp16",)  # FP32 keeps every bit of the sums: nothing is rounded
Fault = tuple[type, str, Callable[[Method], Method], tuple[str, ...]]
FAULTS: dict[str, Fault] = {
    "packing: the overlap is forgotten": (Pe, "_auxiliary", no_auxiliary, ()),
}
MORE: dict[str, Fault] = {
    "KER's halves do not change": (Ker, "_other", stays, ()),
    "conversion rounds ties away": (Conversion, "_round_up", half_away_from_zero, FP16_SUMS),
    "the tree loses a carry": (AccumulationTree, "_added", narrow_adder, ()),
    "packing: the upper product is not negated back": (Pe, "_high", lost_sign_of_the_upper_product, ()),
    "borrow correction is missing": (Pe, "_upper", no_borrow, ()),
    "exponent alignment goes a place too far": (Alignment, "_distance", one_place_too_far, ()),
    "exponents of zero products take part": (SharedExponent, "_exponent", zeros_take_part, ()),
    "conversion scales by two": (Conversion, "_scaled_exponent", scale_off_by_one, ()),
    "the partial sum is truncated": (FloatAdder, "_round_up", never_rounded, ()),
    "KER's half is written while it is read": (Ker, "_empty", released_at_once, ()),
    "PSUM's halves do not change": (Psum, "_other", stays, ()),
}
few = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    for settings in ((), FP16_SUMS):
        assert cosimulate(overlay(*settings), TILES, SEED).difference is None


@pytest.mark.parametrize(("block", "method", "fault", "settings"), [*few, *slow])
def test_the_fault_is_found(
    block: type, method: str, fault: Callable[[Method], Method], settings: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert cosimulate(overlay(*settings), TILES, SEED).difference is not None


def overlay(*settings: str) -> Overlay:
    return Overlay.load("tiny", ("pe_array.columns=2", *settings))
