"""Groups, experts, stand-ins share row lists and parts of places: nothing is read early, nothing replaced too soon."""

from functools import cache

import pytest
from ordering import Access, accesses, rows_of, unordered
from part_traces import FAMILIES, part_trace

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Opcode, Post
from skipopu.program.program import Program, validate_program
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay


@cache
def compiled(name: str, fused: str) -> Program:
    overlay = Overlay.load("tiny", ("bitmask.lists=24", "bitmask.tokens=1024", f"dataflow.fused={fused}"))
    return compile_trace(part_trace(name, 6, 1), overlay, Board.load("u280"))


def lists(touched: list[Access]) -> list[Access]:
    return [access for access in touched if access.space == "lists"]


@pytest.mark.parametrize("fused", ["true", "false"])
@pytest.mark.parametrize("name", FAMILIES)
def test_conflicting_accesses_are_ordered(name: str, fused: str) -> None:
    p = compiled(name, fused)
    validate_program(p.words, p.context.overlay, simulated=True)
    touched = accesses(p)
    assert any(access.write for access in lists(touched))
    assert unordered(rows_of(p), touched) == set()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_list_that_is_read_was_written_in_the_same_layer_and_block(name: str) -> None:
    p, written = compiled(name, "true"), dict[int, tuple[int, ...]]()
    for access in lists(accesses(p)):
        for number in range(access.first, access.end):
            if access.write:
                written[number] = tuple(p.tags[access.index].tolist())
            else:
                assert written[number] == tuple(p.tags[access.index].tolist())


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_fence_is_found(name: str) -> None:
    p = compiled(name, "true")
    rows, touched = rows_of(p), accesses(p)
    assert unordered([row | {"fence": 0} for row in rows], touched)
    assert unordered([row | {"fence": row["fence"] * (row["list"] == 0)} for row in rows], touched)


def test_groups_that_share_nothing_do_not_wait_for_one_another() -> None:
    """Of the FFN's input each group writes tiles of its own: of four products in a row one at most has a fence."""
    rows = rows_of(compiled("wide", "true"))
    own = [row["fence"] for row in rows if row["opcode"] == Opcode.MATMUL and row["post"] == Post.SWIGLU]
    assert len(own) % 4 == 0
    assert all(sum(own[first + 1 : first + 4]) == 0 for first in range(0, len(own), 4))
