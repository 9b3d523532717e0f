"""The validator finds the first fault in program order, as a machine would that takes one instruction at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_programs import tiny

from skipopu.program.instruction_check import check_instructions, most_signals
from skipopu.program.isa import COLUMN, ENGINE_OF, ENGINES, FIELDS, Opcode, Words, encode, unpack
from skipopu.program.program import validate_program
from skipopu.program.status import DETAIL, DETAIL_BITS, Condition, Memory, Status, fields, status, text
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Block

WIDE = tiny(("clock.hbm_ratio=4", "sequencer.queue_depth=64"))  # chunks of 128 bytes
WITH_GELU = tiny(("clock.hbm_ratio=4", "sequencer.queue_depth=64", "npe.gelu=true"))
ROW = st.fixed_dictionaries({
    "opcode": st.sampled_from([*Opcode, 13, 31]) | st.just(Opcode.LOAD_WEIGHTS),
    "wait": st.sampled_from([0, 0, 1, 2, 3, 63]), "signal": st.sampled_from([0, 1, 2, 63]),
    "address": st.sampled_from([0, 0, 0, 2, 4, 5]), "columns": st.sampled_from([0, 2, 3, 4]),
    "normalize": st.integers(0, 1), "gate": st.sampled_from([0, 0, 1, 2, 3]),
    "post": st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
})  # fmt: skip


def words_of(rows: list[dict[str, int]]) -> Words:
    table = np.zeros((len(rows), len(FIELDS)), np.int64)
    for line, row in zip(table, rows, strict=True):
        for name, value in row.items():
            line[COLUMN[name]] = value
    return encode(table)


def one_at_a_time(words: Words, gelu: bool = False) -> Status:
    """The rules again, in the plainest way."""
    count: dict[tuple[Block, Block], int] = {}
    table, rest = unpack(words)
    if not len(words):
        return status(Condition.NO_INSTRUCTION)
    for index, (row, stray) in enumerate(zip(table.tolist(), rest.tolist(), strict=True)):
        opcode = row[0]
        if opcode > max(Opcode):
            return status(Condition.ILLEGAL_OPCODE, index, opcode=opcode)
        if any(stray):
            return status(Condition.RESERVED_BITS, index)
        if name := _illegal(row, gelu):
            at = COLUMN[name]
            return status(Condition.ILLEGAL_FIELD, index, opcode=opcode, field=at, value=row[at])
        moves = opcode not in (Opcode.HALT, *range(Opcode.MATMUL, Opcode.NORMALIZE + 1))
        if moves and row[COLUMN["address"]] % 2:  # 128 bytes: two channels of 64, and a chunk
            return status(Condition.MISALIGNED_ADDRESS, index, opcode=opcode, past=1, multiple=2)
        if opcode == Opcode.LOAD_CONSTANTS and row[COLUMN["columns"]] % 2:
            return status(Condition.MISALIGNED_LENGTH, index, opcode=opcode, past=1, multiple=2)
        last = len(words) - 1
        if (opcode == Opcode.HALT) != (index == last):
            return status(Condition.EARLY_HALT, index, last=last) if index < last else status(Condition.NO_HALT, index)
        found = _semaphores(count, index, ENGINE_OF[Opcode(opcode)], row)
        if found.code:
            return found
    return Status()


def _illegal(row: list[int], gelu: bool) -> str:
    """Name of the first field without a meaning."""
    if row[COLUMN["gate"]] == 3:
        return "gate"
    if row[COLUMN["post"]] > 4 + gelu:
        return "post"
    routes = (0, 2, 4) if row[COLUMN["normalize"]] else (2, 4)
    return "columns" if row[0] == Opcode.ROUTE and row[COLUMN["columns"]] not in routes else ""


def _semaphores(count: dict[tuple[Block, Block], int], index: int, engine: Block, row: list[int]) -> Status:
    numbered = list(enumerate(ENGINES))
    if engine == Block.SEQUENCER:
        for s, source in numbered:
            for t, target in numbered:
                if left := count.get((source, target), 0):
                    return status(Condition.SEMAPHORE_LEFT, index, source=s, target=t, count=left)
        return Status()
    mine, before = ENGINES.index(engine), dict(count)
    for s, source in numbered:
        if row[COLUMN["wait"]] >> s & 1:
            if not before.get((source, engine), 0):
                return status(Condition.SEMAPHORE_UNDERFLOW, index, source=s, target=mine)
            count[source, engine] -= 1
    for t, target in numbered:
        if row[COLUMN["signal"]] >> t & 1:
            if before.get((engine, target), 0) == 255 - 64:
                return status(Condition.SEMAPHORE_OVERFLOW, index, source=mine, target=t, count=255 - 64)
            count[engine, target] = count.get((engine, target), 0) + 1
    return Status()


@given(st.lists(ROW, max_size=12), st.booleans(), st.booleans(), st.booleans())
def test_the_first_fault_is_found(rows: list[dict[str, int]], halts: bool, stray: bool, gelu: bool) -> None:
    words = words_of([*rows, *([{"opcode": Opcode.HALT}] if halts else [])])
    if stray and len(words):
        words[len(words) // 2, 3] |= np.uint64(1 << 63)
    assert check_instructions(words, WITH_GELU if gelu else WIDE) == one_at_a_time(words, gelu)


@pytest.mark.parametrize("field", [{"gate": 3}, {"post": 5}, {"post": 6}, {"post": 7}], ids=str)
@pytest.mark.parametrize("opcode", list(Opcode))
def test_a_value_without_a_meaning_is_refused_whatever_the_opcode(opcode: Opcode, field: dict[str, int]) -> None:
    words = words_of([{"opcode": opcode, "columns": 2, **field}, {"opcode": Opcode.HALT}])
    ((name, value),) = field.items()
    with pytest.raises(SpecError, match=f"instruction 0: illegal {name} {value} of {opcode.name.lower()}; valid: 0.."):
        validate_program(words, WIDE)


@pytest.mark.parametrize(("columns", "statistics"), [(c, s) for c in range(8) for s in (0, 1)])
def test_a_route_has_the_logits_of_one_or_two_modules_or_takes_statistics(columns: int, statistics: int) -> None:
    words = words_of([{"opcode": Opcode.ROUTE, "columns": columns, "normalize": statistics}, {"opcode": Opcode.HALT}])
    legal = columns in (2, 4) or (columns == 0 and statistics == 1)
    assert (check_instructions(words, WIDE).code == Condition.OK) == legal


@given(st.integers(-3, 3), st.integers(0, 2))
def test_signals_pile_up_to_a_bound(more: int, waits: int) -> None:
    count = most_signals(WIDE) + more
    rows = [{"opcode": Opcode.LOAD_WEIGHTS, "signal": 1 << 1}] * count
    rows += [{"opcode": Opcode.LOAD_ROWS, "wait": 1}] * waits
    words = words_of([*rows, {"opcode": Opcode.HALT}])
    assert check_instructions(words, WIDE) == one_at_a_time(words)


def test_an_engine_cannot_wait_for_its_own_signal_of_the_same_instruction() -> None:
    words = words_of([{"opcode": Opcode.LOAD_WEIGHTS, "wait": 1, "signal": 1}, {"opcode": Opcode.HALT}])
    with pytest.raises(SpecError, match=r"instruction 0: semaphore dma→dma underflow"):
        validate_program(words, WIDE)


TEXTS: dict[str, Status] = {
    "no error": Status(),
    "instruction 3: illegal opcode 17; valid: 0..12": status(Condition.ILLEGAL_OPCODE, 3, opcode=17),
    "instruction 3: reserved bits are set; encode with this version of skipopu": status(Condition.RESERVED_BITS, 3),
    "instruction 3: illegal gate 3 of matmul; valid: 0..2":
        status(Condition.ILLEGAL_FIELD, 3, opcode=Opcode.MATMUL, field=COLUMN["gate"], value=3),
    "instruction 3: address of read_kv is 64 bytes past a multiple of 256":
        status(Condition.MISALIGNED_ADDRESS, 3, opcode=Opcode.READ_KV, past=1, multiple=4),
    "instruction 3: length of load_constants is 64 bytes past a multiple of 128":
        status(Condition.MISALIGNED_LENGTH, 3, opcode=Opcode.LOAD_CONSTANTS, past=1, multiple=2),
    "instruction 3: halt before the program's last instruction 9": status(Condition.EARLY_HALT, 3, last=9),
    "instruction 3: the program ends here without halt": status(Condition.NO_HALT, 3),
    "instruction 3: semaphore store→pe_array underflow, waits before anything signals it":
        status(Condition.SEMAPHORE_UNDERFLOW, 3, source=2, target=5),
    "instruction 3: semaphore dma→load overflow, signals before 191 earlier signals are waited for":
        status(Condition.SEMAPHORE_OVERFLOW, 3, source=0, target=1, count=191),
    "instruction 3: semaphore dma→load ends at 2; expected 0":
        status(Condition.SEMAPHORE_LEFT, 3, source=0, target=1, count=2),
    "program: no instruction; the last one must be halt": status(Condition.NO_INSTRUCTION),
    "memory error: a response of DDR4 was not OKAY": status(Condition.MEMORY_ERROR, memory=Memory.DDR4),
    "deadlock: nothing moved for 100000 cycles": status(Condition.DEADLOCK, cycles=100_000),
}  # fmt: skip


FIELD_TEXTS = {
    "instruction 3: illegal post 7 of matmul; valid: 0..4, 5 with npe.gelu": (Opcode.MATMUL, "post", 7),
    "instruction 3: illegal columns 3 of route; valid: 2, 4, 0 with normalize": (Opcode.ROUTE, "columns", 3),
}


@pytest.mark.parametrize(("said", "of"), FIELD_TEXTS.items(), ids=["post", "columns"])
def test_an_illegal_field_names_what_is_valid(said: str, of: tuple[Opcode, str, int]) -> None:
    opcode, name, value = of
    assert text(status(Condition.ILLEGAL_FIELD, 3, opcode=opcode, field=COLUMN[name], value=value)) == said


@pytest.mark.parametrize(("said", "of"), TEXTS.items(), ids=[of.code.label for of in TEXTS.values()])
def test_every_condition_has_words(said: str, of: Status) -> None:
    assert text(of) == said


def test_the_words_are_those_of_all_conditions() -> None:
    assert {of.code for of in TEXTS.values()} == set(Condition) == set(DETAIL)


@given(st.sampled_from(list(Condition)), st.data())
def test_the_fields_of_a_detail_come_back(code: Condition, data: st.DataObject) -> None:
    values = {name: data.draw(st.integers(0, (1 << width) - 1)) for name, width in DETAIL[code]}
    packed = status(code, 5, **values)
    assert packed.detail < 1 << DETAIL_BITS
    assert fields(packed) == values


def test_an_empty_program_is_refused() -> None:
    with pytest.raises(SpecError, match="no instruction"):
        validate_program(np.zeros((0, 4), np.uint64), tiny())
