"""Registers and performance counters over AXI-Lite: what a host writes and reads, cycle by cycle."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from amaranth.hdl import Const

from skipopu.hdl.axi_lite import AxiLite
from skipopu.hdl.control import Control
from skipopu.hdl.cosim.control import cosimulate
from skipopu.hdl.kv_layout import kv_shape
from skipopu.hdl.performance_counters import CauseCounter
from skipopu.hdl.register_map import COUNTERS, REGISTER_BYTES, counter_offset, register_map, register_table
from skipopu.spec.ledger import Block, Cause
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
TINY = Overlay.load("tiny")


def test_a_host_at_random() -> None:
    found = cosimulate(TINY, 1500, seed=1)
    assert found.difference is None
    assert 0.2 < found.refused / found.accesses < 0.6


def kept(_: Method) -> Method:
    return lambda self, written, cause, word: word


def never_refused(_: Method) -> Method:
    return lambda self, good: Const(0)


def never_busy(_: Method) -> Method:
    return lambda self: Const(1)


@pytest.mark.slow
@pytest.mark.usefixtures("converted_anew")
@pytest.mark.parametrize(
    ("block", "method", "fault"),
    [
        (CauseCounter, "_counted", kept), (AxiLite, "_response", never_refused), (Control, "_is_idle", never_busy),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(
    block: type, method: str, fault: Callable[[Method], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert cosimulate(TINY, 1500, seed=1).difference is not None


@pytest.mark.parametrize("name", ["tiny", "skipopu-u280"])
def test_no_two_registers_share_an_offset(name: str) -> None:
    overlay = Overlay.load(name)
    registers = register_map(overlay, kv_shape(overlay)).values()
    halves = (0, REGISTER_BYTES)
    counters = [counter_offset(block, cause) + half for block in Block for cause in Cause for half in halves]
    offsets = [r.offset for r in registers] + counters
    assert all(first < second for first, second in pairwise(offsets))
    assert all(offset % REGISTER_BYTES == 0 for offset in offsets)
    assert all(1 <= r.width <= 32 for r in registers)


def test_the_table_has_every_register_and_says_where_the_counters_are() -> None:
    lines = register_table(TINY, kv_shape(TINY)).splitlines()
    named = register_map(TINY, kv_shape(TINY))
    assert [line.split(" | ")[1] for line in lines[2:-1]] == list(named)
    assert lines[-1].startswith(f"| {COUNTERS:#05x} + 128·block + 8·cause | counters | 48 | R | ")
