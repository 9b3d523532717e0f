"""An instruction is 256 bits: every field comes back, nothing else is accepted, the text says it all."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.program import isa
from skipopu.program.isa import COLUMN, ENGINE_OF, ENGINES, FIELDS, NAMES, PLACES, Opcode
from skipopu.spec.error import SpecError

FIELD = [st.integers(0, max(Opcode)), *(st.integers(0, (1 << width) - 1) for _, width in FIELDS[1:])]
Table = NDArray[np.int64]


def table(*rows: dict[str, int]) -> Table:
    found = np.zeros((len(rows), len(FIELDS)), np.int64)
    for i, row in enumerate(rows):
        for name, value in row.items():
            found[i, COLUMN[name]] = value
    return found


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as caught:
        action()
    return str(caught.value)


@given(st.lists(st.tuples(*FIELD), min_size=1, max_size=5))
def test_every_field_comes_back(rows: list[tuple[int, ...]]) -> None:
    fields = np.array(rows, np.int64)
    words = isa.encode(fields)
    assert words.shape == (len(rows), 4)
    assert words.dtype == np.uint64
    assert np.array_equal(isa.decode(words), fields)


@given(st.tuples(*FIELD))
def test_an_instruction_is_its_fields_one_after_another(row: tuple[int, ...]) -> None:
    """In Python integers: little-endian, and a field that would cross a 64-bit word starts the next."""
    value, position = 0, 0
    for (_, width), field in zip(FIELDS, row, strict=True):
        if position % 64 + width > 64:
            position += 64 - position % 64
        value |= field << position
        position += width
    (words,) = isa.encode(np.array([row], np.int64))
    assert sum(int(word) << (64 * i) for i, word in enumerate(words)) == value


def test_no_two_fields_share_a_bit() -> None:
    used = [(word, bit) for word, shift, width in PLACES for bit in range(shift, shift + width)]
    assert len(used) == len(set(used)) == sum(width for _, width in FIELDS)
    assert max(word for word, _ in used) < 4
    assert max(bit for _, bit in used) < 64


@pytest.mark.parametrize(("name", "width"), FIELDS[1:])
def test_a_value_that_does_not_fit_is_refused(name: str, width: int) -> None:
    for value in (1 << width, -1):
        assert refusal(lambda v=value: isa.encode(table({}, {name: v}))) == (
            f"instruction 1: {name} = {value} does not fit {width} bits (0..{(1 << width) - 1});"
            " lower the sequence length or the model size"
        )


@pytest.mark.parametrize("opcode", range(max(Opcode) + 1, 32))
def test_an_illegal_opcode_is_refused(opcode: int) -> None:
    words = isa.encode(table({}, {}))
    words[1, 0] |= np.uint64(opcode)
    assert (
        refusal(lambda: isa.decode(words))
        == f"instruction 1: illegal opcode {opcode}; valid: 0..{max(Opcode)}"
    )


def test_every_reserved_bit_is_refused() -> None:
    used = [0] * 4
    for word, shift, width in PLACES:
        used[word] |= ((1 << width) - 1) << shift
    reserved = [(word, bit) for word in range(4) for bit in range(64) if not used[word] >> bit & 1]
    assert len(reserved) == 256 - sum(width for _, width in FIELDS)
    for word, bit in reserved:
        words = isa.encode(table({}))
        words[0, word] |= np.uint64(1 << bit)
        text = "instruction 0: reserved bits are set; encode with this version of skipopu"
        assert refusal(lambda w=words: isa.decode(w)) == text


def test_the_text_of_an_instruction_names_what_is_not_zero() -> None:
    rows = table(
        {"opcode": Opcode.MATMUL, "wait": 0b10, "signal": 0b101, "gate": 2, "mask": 1, "post": 3, "rows": 8},
        {"opcode": Opcode.HALT},
    )
    assert isa.disassemble(isa.encode(rows)) == [
        "     0  matmul         wait=load signal=dma+store gate=ffn mask=1 post=residual rows=8",
        "     1  halt          ",
    ]


@given(st.tuples(*FIELD).filter(lambda row: row[COLUMN["gate"]] < 3 and row[COLUMN["post"]] < 5))
def test_the_text_gives_every_number_back(row: tuple[int, ...]) -> None:
    (line,) = isa.disassemble(isa.encode(np.array([row], np.int64)))
    words = line.split()
    assert words[1] == Opcode(row[0]).name.lower()
    shown = dict(word.split("=") for word in words[2:])
    numbers = [n for n in NAMES if n not in ("opcode", "wait", "signal", "gate", "post")]
    assert {n: int(shown.get(n, 0)) for n in numbers} == {n: row[COLUMN[n]] for n in numbers}
    for name in ("wait", "signal"):
        engines = [e.label for i, e in enumerate(ENGINES) if row[COLUMN[name]] >> i & 1]
        assert shown.get(name, "") == "+".join(engines)


def test_every_opcode_has_an_engine() -> None:
    assert set(ENGINE_OF) == set(Opcode)
    assert set(ENGINE_OF.values()) - set(ENGINES) == {ENGINE_OF[Opcode.HALT]}
