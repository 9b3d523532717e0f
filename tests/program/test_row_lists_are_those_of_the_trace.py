"""Row lists for parts of modules: how many, what is in them, and what no list can say."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from part_traces import OVERLAY, approximated, part_trace, shape

from skipopu.hdl.overlay import Overlay as OverlayRtl
from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.program.random_parameters import random_parameters
from skipopu.program.row_lists import row_lists
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay
from skipopu.trace import Router, Trace, make_trace
from skipopu.trace.synthetic import synthesize

BOARD = Board.load("u280")


def refusal(trace: Trace, overlay: Overlay = OVERLAY) -> str:
    with pytest.raises(SpecError) as caught:
        compile_trace(trace, overlay, BOARD)
    return str(caught.value)


@given(st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_pairs_of_heads_have_a_list_of_their_own_where_their_groups_differ(heads: int, seed: int) -> None:
    trace = part_trace("wide", 9, 2, seed, f"kv_heads_per_group={heads}")
    lists, bits = row_lists(trace), trace.array("head_groups")
    assert bits is not None
    for pair, number in enumerate(lists.pairs):
        groups = {2 * pair // heads, (2 * pair + 1) // heads}
        assert np.array_equal(lists.bits[number - 1], bits[:, :, sorted(groups)].any(axis=2))
    assert len(lists.bits) == lists.groups("attention") + lists.groups("ffn") + (2 if heads == 1 else 0)


def test_groups_are_chosen_by_a_router_of_their_module() -> None:
    trace = part_trace("wide", 4, 1)
    for router, text in (
        (Router(), "layer 0: rows that do not run all head_groups, and no"),
        (replace(trace.header.router, always_on_ffn=(1,)), "layer 1: rows that do not run all ffn_groups, and no"),
        (replace(trace.header.router, shared=True), "head_groups and a router for both modules"),
    ):
        other = Trace(replace(trace.header, router=router), trace.steps, trace.arrays, trace.events)
        assert text in refusal(other)


def test_an_overlay_without_enough_lists_says_how_many() -> None:
    for name, need in (("wide", 10), ("routing_free_moe", 5), ("lff", 2)):
        few = Overlay.load("tiny", (f"bitmask.lists={need - 1}",))
        text = refusal(part_trace(name), few)
        assert f"bitmask.lists = {need - 1}; family {name} needs {need} (" in text
        assert text.endswith(f"--set bitmask.lists={need}")
        compile_trace(part_trace(name), Overlay.load("tiny", (f"bitmask.lists={need}",)), BOARD)


def test_what_no_list_can_say_is_refused() -> None:
    plain = synthesize("bernoulli", shape(), 6, 2, 0.5)
    idle = approximated(plain)
    rows = {kind: idle.rows(kind) for kind in ("q", "kv", "ffn")}
    none = make_trace(idle.header, idle.steps, **rows, approx_rows=np.stack([~rows["q"], np.zeros_like(rows["ffn"])]))
    assert "rows run neither ffn nor its stand-in" in refusal(none)
    many = Overlay.load("tiny", ("bitmask.lists=64",))
    assert "at most 63" in refusal(part_trace("routing_free_moe", 4, 1, 1, "experts=64"), many)
    for size, text in (
        (8, "FFN groups of 8 channels; a group must be whole tiles of pe_array.dot_length = 16 channels"),
        (16, "groups of 32 columns of gate_up; a group must be a multiple of 64 columns"),
    ):
        assert text in refusal(part_trace("wide", 4, 1, 1, f"ffn_group_size={size}"))


def test_neither_rtl_nor_functional_machine_has_them() -> None:
    with pytest.raises(SpecError, match=r"bitmask\.lists = 24; row lists are in the simulator only; nearest: 0"):
        OverlayRtl(overlay=OVERLAY)
    for name in ("wide", "routing_free_moe", "lff"):
        program = compile_trace(part_trace(name, 4, 1), OVERLAY, BOARD)
        make = partial(build_image, program, random_parameters(shape(), program.context.trace.header.router, 5))
        with pytest.raises(SpecError, match="groups, experts or stand-ins"):
            make()
