"""The builder: a hazard between engines is one signal and one wait, one inside the PE array is a fence."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ordering import order_of
from small_programs import tiny

from skipopu.program.builder import Builder, Tiles
from skipopu.program.isa import COLUMN, ENGINES, NAMES, Fields, Opcode, encode
from skipopu.program.program import validate_program
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Block

LOAD, STORE, PE = (1 << ENGINES.index(b) for b in (Block.LOAD, Block.STORE, Block.PE_ARRAY))
Emission = tuple[Opcode, list[object], list[object]]


def build(*emissions: Emission) -> Fields:
    b = Builder()
    for opcode, reads, writes in emissions:
        b.emit(opcode, reads, writes)
    return b.finish()[0]


def column(fields: Fields, name: str) -> list[int]:
    return [int(v) for v in fields[:-1, COLUMN[name]]]


LOADS = (Opcode.LOAD_ROWS, [], ["r"])
HAZARDS: dict[str, tuple[Emission, Emission]] = {
    "read after write": (LOADS, (Opcode.MATMUL, ["r"], [])),
    "write after write": (LOADS, (Opcode.MATMUL, [], ["r"])),
    "write after read": ((Opcode.LOAD_ROWS, ["r"], []), (Opcode.MATMUL, [], ["r"])),
}


@pytest.mark.parametrize("name", HAZARDS)
def test_a_hazard_between_engines_is_a_signal_and_a_wait(name: str) -> None:
    fields = build(*HAZARDS[name])
    assert column(fields, "signal") == [PE, 0]
    assert column(fields, "wait") == [0, LOAD]
    assert column(fields, "fence") == [0, 0]


@pytest.mark.parametrize("region", ["other", Tiles(0, 4)])
def test_what_does_not_meet_needs_nothing(region: object) -> None:
    fields = build((Opcode.LOAD_ROWS, [], [Tiles(4, 8), "r"]), (Opcode.MATMUL, [region], [region]))
    assert column(fields, "signal") == [0, 0]
    assert column(fields, "wait") == [0, 0]


def test_two_readers_need_nothing() -> None:
    fields = build((Opcode.LOAD_ROWS, ["r"], []), (Opcode.MATMUL, ["r"], []))
    assert column(fields, "wait") == [0, 0]


@pytest.mark.parametrize("second", [Tiles(0, 10), Tiles(3, 4), Tiles(5, 20), Tiles(2, 6)])
def test_ranges_that_overlap_are_one_hazard(second: Tiles) -> None:
    fields = build((Opcode.LOAD_ROWS, [], [Tiles(2, 6)]), (Opcode.MATMUL, [second], []))
    assert column(fields, "wait") == [0, LOAD]


def test_a_writer_behind_a_partial_rewrite_is_not_forgotten() -> None:
    fields = build(
        (Opcode.LOAD_ROWS, [], [Tiles(0, 8)]),
        (Opcode.MATMUL, [], [Tiles(4, 12)]),
        (Opcode.STORE_ROWS, [Tiles(0, 2)], []),
    )
    assert column(fields, "wait")[2] & LOAD


def test_every_reader_holds_up_the_next_writer() -> None:
    fields = build((Opcode.STORE_ROWS, ["r"], []), (Opcode.MATMUL, ["r"], []), (Opcode.LOAD_ROWS, [], ["r"]))
    assert column(fields, "wait") == [0, 0, STORE | PE]


def test_what_was_waited_for_is_not_waited_for_again() -> None:
    fields = build(LOADS, (Opcode.MATMUL, ["r"], []), (Opcode.MATMUL, ["r"], []))
    assert column(fields, "signal") == [PE, 0, 0]
    assert column(fields, "wait") == [0, LOAD, 0]


def test_only_the_newest_producer_of_an_engine_is_waited_for() -> None:
    fields = build(
        (Opcode.LOAD_ROWS, [], ["a"]), (Opcode.LOAD_ROWS, [], ["b"]), (Opcode.MATMUL, ["a", "b"], [])
    )
    assert column(fields, "signal") == [0, PE, 0]


def test_a_result_in_flight_is_fenced_off_once() -> None:
    fields = build(
        (Opcode.MATMUL, [], ["a"]),
        (Opcode.MATMUL, [], ["b"]),
        (Opcode.MATMUL, ["b"], []),
        (Opcode.MATMUL, ["a"], []),
    )
    assert column(fields, "fence") == [0, 0, 1, 0]
    assert column(fields, "wait") == [0, 0, 0, 0]


@pytest.mark.parametrize("opcode", [Opcode.LOAD_ROWS, Opcode.STORE_ROWS])
def test_engines_that_move_data_need_no_fence(opcode: Opcode) -> None:
    fields = build((opcode, [], ["a"]), (opcode, ["a"], ["a"]))
    assert column(fields, "fence") == column(fields, "wait") == [0, 0]


def test_a_stream_replaces_the_semaphore() -> None:
    b = Builder()
    load = b.emit(Opcode.LOAD_ROWS, [], ["x"], stream=1)
    b.emit(Opcode.ROUTE, ["x"], ["x"], load, stream=1)
    b.emit(Opcode.STORE_ROWS, ["x"], [])
    fields, _ = b.finish()
    assert column(fields, "wait") == [0, 0, PE]


OPCODES = [
    Opcode.LOAD_WEIGHTS,
    Opcode.LOAD_ROWS,
    Opcode.STORE_ROWS,
    Opcode.READ_KV,
    Opcode.APPEND_KV,
    Opcode.MATMUL,
]
TILES = st.tuples(st.integers(0, 12), st.integers(1, 6)).map(lambda t: Tiles(t[0], t[0] + t[1]))
REGIONS = st.lists(st.one_of(TILES, st.sampled_from(["r", "s"])), max_size=2)


def touched(regions: list[object]) -> set[object]:
    """Single tiles and names."""
    return {p for r in regions for p in (range(r.first, r.end) if isinstance(r, Tiles) else [r])}


@given(st.lists(st.tuples(st.sampled_from(OPCODES), REGIONS, REGIONS), max_size=25))
def test_any_program_orders_all_that_meet(emissions: list[Emission]) -> None:
    fields = build(*emissions)
    validate_program(encode(fields), tiny())
    order = order_of([dict(zip(NAMES, map(int, row), strict=True)) for row in fields[:-1]])
    for b, (_, reads, writes) in enumerate(emissions):
        for a, (_, read, written) in enumerate(emissions[:b]):
            result = touched(written) & (touched(reads) | touched(writes))
            if result or (touched(read) & touched(writes) and order.engine[a] != order.engine[b]):
                assert order.before(a, b)


def faulty(change: Callable[[Fields], object]) -> str:
    fields = build(LOADS, (Opcode.MATMUL, ["r"], ["r"]), (Opcode.STORE_ROWS, ["r"], []))
    validate_program(encode(fields), tiny())
    changed = change(fields)
    with pytest.raises(SpecError) as caught:
        validate_program(encode(changed if isinstance(changed, np.ndarray) else fields), tiny())
    return str(caught.value)


def _put(row: int, name: str, value: int) -> Callable[[Fields], object]:
    return lambda fields: fields.__setitem__((row, COLUMN[name]), value)


EARLY = "underflow, waits before anything signals it"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_put(0, "signal", 0), f"instruction 1: semaphore load→pe_array {EARLY}"),
        (_put(2, "wait", LOAD), f"instruction 2: semaphore load→store {EARLY}"),
        (_put(1, "wait", 0), "instruction 3: semaphore load→pe_array ends at 1; expected 0"),
        (_put(0, "signal", PE | STORE), "instruction 3: semaphore load→store ends at 1; expected 0"),
        (_put(1, "opcode", 0), "instruction 1: halt before the program's last instruction 3"),
        (lambda fields: fields[:-1], "instruction 2: the program ends here without halt"),
        (lambda fields: fields[[1, 0, 2, 3]], f"instruction 0: semaphore load→pe_array {EARLY}"),
    ],
)  # fmt: skip
def test_a_planted_fault_is_refused(change: Callable[[Fields], object], text: str) -> None:
    assert faulty(change) == text
