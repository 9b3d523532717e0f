"""One fault at a time in MatrixControl: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Mux, Value

from skipopu.hdl import matrix_side_data
from skipopu.hdl.cosim.matrix_control import cosimulate
from skipopu.hdl.matrix_causes import MatrixCauses
from skipopu.hdl.matrix_flight import MatrixFlight
from skipopu.hdl.matrix_loops import MatrixLoops
from skipopu.hdl.matrix_operand_addresses import OperandAddresses
from skipopu.hdl.matrix_operands import MatrixOperands
from skipopu.hdl.matrix_operations import MatrixOperations
from skipopu.hdl.matrix_result_addresses import ResultAddresses
from skipopu.hdl.matrix_result_write import MatrixResultWrite
from skipopu.hdl.matrix_side_data import MatrixSideData
from skipopu.hdl.matrix_visibility import MatrixVisibility
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
INSTRUCTIONS, SEED = 120, 5
WIDE = ("pe_array.columns=32", "global_buffer.tiles=4096")  # only here a column block goes beyond a row tile
pytestmark = pytest.mark.usefixtures("converted_anew")


def one_more(right: Method) -> Method:
    return lambda self, *arguments: right(self, *arguments) + 1


def packed_rows(_: Method) -> Method:
    return lambda self: self.position


def one_head(_: Method) -> Method:
    """Groups are forgotten: key/value heads lie a member apart."""
    return lambda self: self._loops.member_stride


def one_head_of_results(_: Method) -> Method:
    return lambda self: self.loops.member_stride


def everywhere(_: Method) -> Method:
    return lambda self, column: Const(1, 1)


def first_granule(right: Method) -> Method:
    def place(self: ResultAddresses, m: Module, column: Any, base: Value) -> None:
        right(self, m, column, base)
        m.d.comb += self.granule.eq(0)

    return place


def the_whole_word(_: Method) -> Method:
    return lambda self, target, place: target.granule >> 1 == place >> 1


def zeros(_: Method) -> Method:
    return lambda self: Const(0, 16).replicate(len(self.word))


def sees_what_follows(right: Method) -> Method:
    return lambda self, oldest, slot, query: right(self, oldest, slot, query + 1)


def all_rounds(right: Method) -> Method:
    def appears(self: MatrixVisibility, m: Module) -> Value:
        found: Value = right(self, m) | (self.valid & ~self.running & self.start)
        return found

    return appears


def unscaled(_: Method) -> Method:
    return lambda self, choice: matrix_side_data.ONE


def other_source(right: Method) -> Method:
    return lambda self, kind: Mux(kind.context, 0, right(self, kind))


def blocks_rounded_down(_: Method) -> Method:
    return lambda self, m, kind: Mux(kind.matmul, self.head.columns // self._overlay.pe_array.columns + 1, 1)


def stream_unseen(_: Method) -> Method:
    return lambda self, m, current: Const(1, 1)


def forgets_the_stream(right: Method) -> Method:
    def why(self: MatrixOperands, m: Module, arrived: Value, goes_back: Value) -> None:
        right(self, m, Const(1, 1), goes_back)

    return why


def any_missing_tile_is_weights(_: Method) -> Method:
    return lambda self, others: Const(int(Cause.WEIGHTS), 4)


def next_constants(right: Method) -> Method:
    return lambda self, address: right(self, address + 1)


Fault = tuple[Any, str, Callable[[Method], Method]]
FAULTS: dict[str, Fault] = {
    "operands ignore the list": (OperandAddresses, "_row", packed_rows),
    "heads of operands are too close": (OperandAddresses, "_head_distance", one_head),
    "heads of results are too close": (ResultAddresses, "_head_distance", one_head_of_results),
    "words beyond the tiles are written": (ResultAddresses, "_has_column", everywhere),
    "every word goes to the first granule": (ResultAddresses, "_places", first_granule),
    "half a word takes a whole one's place": (MatrixResultWrite, "_here", the_whole_word),
    "the rest of a tile of scores is zero": (MatrixResultWrite, "_hidden", zeros),
    "a query sees the token after its own": (MatrixVisibility, "_sees", sees_what_follows),
    "a chunk before the start counts as a round": (MatrixVisibility, "_appears", all_rounds),
    "scores are not divided by √d": (MatrixSideData, "_constant", unscaled),
    "context has no tiles": (MatrixOperations, "_source", other_source),
    "a column block too many, or no pairs": (MatrixOperations, "_blocks", blocks_rounded_down),
    "a route does not wait for its stream": (MatrixOperands, "_stream_tiles", stream_unseen),
    "who waits for DDR4 does not say so": (MatrixOperands, "_cause", forgets_the_stream),
    "every missing tile is one of weights": (MatrixCauses, "_no_tile", any_missing_tile_is_weights),
    "an operation retires a cycle late": (MatrixFlight, "_cycles", one_more),
    "scales are a word too far": (MatrixLoops, "_word", next_constants),
}


@pytest.mark.slow
@pytest.mark.parametrize(("block", "method", "fault"), FAULTS.values(), ids=FAULTS)
def test_the_fault_is_found(
    block: Any, method: str, fault: Callable[[Method], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    overlay = Overlay.load("tiny", WIDE if fault is everywhere else ())
    assert cosimulate(overlay, INSTRUCTIONS, SEED).difference is not None
