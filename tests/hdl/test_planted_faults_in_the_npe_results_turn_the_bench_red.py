"""One fault at a time in the RTL of the result path: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Mux, Value

from skipopu.hdl.cosim.npe_results import cosimulate
from skipopu.hdl.npe.held_sums import HeldSums
from skipopu.hdl.npe.narrowing import Narrowing, Widening
from skipopu.hdl.npe.optional_addition import OptionalAddition
from skipopu.hdl.npe.result_function import ResultFunction
from skipopu.hdl.npe.result_path import ResultPath
from skipopu.hdl.npe.result_request import ResultRequest
from skipopu.hdl.npe.result_scaling import ResultScaling
from skipopu.hdl.npe.rotary_buffer import RotaryAddress, RotaryBuffer
from skipopu.hdl.npe.slot_pairs import SlotPairs
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import place
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
WORDS, SEED = 300, 3
pytestmark = pytest.mark.usefixtures("converted_anew")


def swapped(right: Method) -> Method:
    return lambda self, *word: right(self, *word)[::-1]


def executed_row(_: Method) -> Method:
    return lambda self: self.list_row


def plus_zero(_: Method) -> Method:
    return lambda self: Const(0, 32)


def first_word(_: Method) -> Method:
    return lambda self: Const(0, 1)


def rounded_at_once(right: Method) -> Method:
    def scaled(self: ResultScaling, m: Module) -> Value:
        narrowing, widening = (
            place(m, name, unit(stages=0)) for name, unit in (("early", Narrowing), ("again", Widening))
        )
        m.d.comb += [narrowing.number.eq(right(self, m)), widening.number.eq(narrowing.result)]
        result: Value = widening.result
        return result

    return scaled


def word_before(wanted: str) -> Callable[[Method], Method]:
    def fault(right: Method) -> Method:
        return lambda self, m, name, cycles: right(self, m, name, cycles + (name == wanted))

    return fault


def next_lane(right: Method) -> Method:
    return lambda self, m, arrived: right(self, m, arrived).rotate_left(1)


def any_lane(_: Method) -> Method:
    return lambda self, m, arrived: self.visible


def no_head(_: Method) -> Method:
    return lambda self, head, operation: Const(0, 1)


def one_less(right: Method) -> Method:
    return lambda self: right(self) - 1


def one_word_more(_: Method) -> Method:
    return lambda self, word: word == self.pair.operation.words


def late_operation(right: Method) -> Method:
    def room(self: SlotPairs, m: Module, completes: Value, leaves: Value) -> Value:
        begun: Value = delayed(m, self.operation.valid & ~self.operation.ready, 1, "begun")
        found: Value = right(self, m, completes, leaves) & begun
        return found

    return room


def only_when_empty(_: Method) -> Method:
    return lambda self, m, completes, leaves: ~completes | ~self.full


def every_column_block(_: Method) -> Method:
    return lambda self: self.sums.payload.last


def rounds_go_on(_: Method) -> Method:
    return lambda self, last, last_of_round: last


def every_block_alike(_: Method) -> Method:
    return lambda self: Const(0, 1)


def negative_zero(_: Method) -> Method:
    return lambda self, number: Mux(number[-1] & number[:-1].any(), Const(0, 16), number)


def held_always(_: Method) -> Method:
    return lambda self, odd, hold: hold


Fault = tuple[Any, str, Callable[[Method], Method]]
FAULTS: dict[str, Fault] = {
    "an odd entry is added to +0": (OptionalAddition, "_nothing", plus_zero),
}
MORE: dict[str, Fault] = {
    "cosine and sine are swapped": (RotaryBuffer, "_halves", swapped),
    "ROT's row is the place in the list": (ResultPath, "_rotary_row", executed_row),
    "ROT's words begin anew in every column block": (RotaryAddress, "_block_done", every_block_alike),
    "gate and up are swapped": (ResultFunction, "_gate_and_up", swapped),
    "ReLU keeps −0": (ResultFunction, "_rectified", negative_zero),
    "all words wait in one place": (HeldSums, "_place", first_word),
    "an entry alone comes from the hold register": (SlotPairs, "_first", held_always),
    "the product with the scale is rounded to FP16": (ResultScaling, "_scaled", rounded_at_once),
    "a residual comes a word late": (ResultPath, "_waiting", word_before("residual")),
    "a scale comes a word late": (ResultPath, "_waiting", word_before("scale")),
    "the mask is off by a lane": (ResultPath, "_visible", next_lane),
    "lanes without a column are visible": (ResultPath, "_visible", any_lane),
    "statistics forget the head": (ResultRequest, "_other_head", no_head),
    "statistics rest a cycle less": (ResultRequest, "_distance", one_less),
    "K/V rounds do not begin anew": (SlotPairs, "_begins", rounds_go_on),
    "an operation ends with its first column block": (SlotPairs, "_end", every_column_block),
    "a row leaves in a word more": (SlotPairs, "_is_last", one_word_more),
    "an operation begins a cycle late": (SlotPairs, "_room", late_operation),
    "a pair waits until the one before has gone": (SlotPairs, "_room", only_when_empty),
}
few = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]


def difference() -> Any:
    return cosimulate(Overlay.load("tiny", ("pe_array.columns=2",)), WORDS, SEED).difference


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    assert difference() is None


@pytest.mark.parametrize(("block", "method", "fault"), [*few, *slow])
def test_the_fault_is_found(
    block: Any, method: str, fault: Callable[[Method], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert difference() is not None
