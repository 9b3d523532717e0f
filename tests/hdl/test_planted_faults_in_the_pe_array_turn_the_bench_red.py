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
from skipopu.hdl.ifm import Ifm
from skipopu.hdl.ker import Ker
from skipopu.hdl.ker_elements import KerElements
from skipopu.hdl.ker_pieces import KerPieces
from skipopu.hdl.pe import LANE, Pe
from skipopu.hdl.pe_array import PeArray
from skipopu.hdl.psum import Psum
from skipopu.hdl.shared_exponent import SharedExponent
from skipopu.hdl.sum_entry import SumEntry
from skipopu.spec.ker_shape import KerShape
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


def always(_: Method) -> Method:
    return lambda self, *_: Const(1, 1)


def never(_: Method) -> Method:
    return lambda self, *_: Const(0, 1)


def once(_: Method) -> Method:
    return lambda self, *_: Const(1)


def asked_before_it_is_told(right: Method) -> Method:
    def announced(self: Ifm, *arguments: Any) -> Value:
        right(self, *arguments)
        return Const(1, 1)

    return announced


def end_counts_as_a_round(_: Method) -> Method:
    return lambda self, end: self.rounds + 1


def by_loop_bounds(_: Method) -> Method:
    return lambda self, loop: loop.last


def used_up_only(_: Method) -> Method:
    return lambda self, used_up, last_piece: used_up


def whoever_has_a_token(right: Method) -> Method:
    def element(self: KerElements, column: int, k: int) -> tuple[Value, Value]:
        weight, write = right(self, column, k)
        return weight, (Const(0, 1) if isinstance(write, Const) else self._write[0])

    return element


def neighbour(right: Method) -> Method:
    return lambda self, elements, place: right(self, elements, place ^ 1)


def by_lane(_: Method) -> Any:
    return property(lambda self: False)


FP16_SUMS = ("psum.format=fp16",)  # FP32 keeps every bit of the sums: nothing is rounded
TWO_HEADS = ("pe_array.columns=8", "dataflow.packed_heads=2")
LONG_WORDS = ("ker.constant_bytes_per_cycle=512",)
Fault = tuple[type, str, Callable[[Method], Method], tuple[str, ...]]
FAULTS: dict[str, Fault] = {
    "packing: the overlap is forgotten": (Pe, "_auxiliary", no_auxiliary, ()),
}
MORE: dict[str, Fault] = {
    "what a tile does not write stays": (KerPieces, "_begins", never, ()),
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
    "rows of a round are asked for before it is announced": (Ifm, "_rounds", asked_before_it_is_told, ()),
    "the end is counted as a round": (Ifm, "_counted", end_counts_as_a_round, ()),
    "keys end with their loop": (Ker, "_is_last", by_loop_bounds, ()),
    "every column block ends its operation": (PeArray, "_is_end", always, ()),
    "sums do not take turns": (SumEntry, "_is_last_turn", always, ()),
    "both heads meet the rows of the first": (PeArray, "_heads_differ", never, TWO_HEADS),
    "the columns of the second head always have rows of their own": (PeArray, "_heads_differ", always, TWO_HEADS),
    "a chunk is taken with its first tile": (KerPieces, "_segments", once, ()),
    "a tile is complete with its first piece": (KerPieces, "_pieces", once, ()),
    "the last word of router weights is left standing": (KerPieces, "_word_done", used_up_only, LONG_WORDS),
    "a lane without a token counts as a key": (KerElements, "key", whoever_has_a_token, TWO_HEADS),
    "a lane without a token counts as a value": (KerElements, "value", whoever_has_a_token, TWO_HEADS),
    "elements are swapped": (KerElements, "_slot", neighbour, ()),
    "a token takes the column of its lane, where there is none": (KerShape, "by_rank", by_lane, ()),
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
    return Overlay.load("tiny", ("pe_array.columns=2", "dataflow.packed_heads=1", *settings))
