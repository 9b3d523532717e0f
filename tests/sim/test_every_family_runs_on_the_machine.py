"""Traces of every family that the compiler carries run to their end, contradict nothing, and wait for late input."""

import numpy as np
import pytest
from family_traces import KNOBS, family_trace, shape
from part_traces import FAMILIES

from skipopu.program.compiler import compile_trace
from skipopu.results.audit import audit
from skipopu.sim.machine import KvCache, Machine
from skipopu.sim.reference import RUNNING, Advance, run_slice, simulate
from skipopu.sim.run import Run
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block, Cause, Phase
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace
from skipopu.trace.family import families, generate
from skipopu.trace.knobs import preset, presets

TINY = Overlay.load("tiny", ("bitmask.rows=64", "bitmask.tokens=1024"))
BOARD = Board.load("u280")
HERTZ = TINY.clock.core_mhz * 1e6


def run(trace: Trace, **how: object) -> Run:
    return simulate(compile_trace(trace, TINY, BOARD), TINY, BOARD, **how)  # type: ignore[arg-type]


def in_slices(size: int) -> Advance:
    """A slice of one cycle has no second one to take together with, one of a few only a few."""

    def advance(m: Machine, c: KvCache, windows: np.ndarray, cycles: int) -> int:
        for begin in range(0, cycles, size):
            state = run_slice(m, c, windows, min(size, cycles - begin))
            if state != RUNNING:
                return state
        return RUNNING

    return advance


def late(words_per_second: int) -> Trace:
    return generate("wait_k", shape(), 4, 2, seed=1, knobs=(f"words_per_second={words_per_second}",))


def test_no_family_is_left_out() -> None:
    """Operating points of a family are named after it in their traces; those of `part_traces` have a file of tests."""
    known = {preset(name)[0] if name in presets() else name for name in families()}
    assert known == {*KNOBS, *FAMILIES}


@pytest.mark.parametrize("name", KNOBS)
def test_it_contradicts_nothing(name: str) -> None:
    trace = family_trace(name)
    found = run(trace)
    assert [check for check in audit(found, trace, TINY) if not check.passed] == []
    assert np.all(np.diff(found.step_end) > 0)


@pytest.mark.parametrize("size", [pytest.param(1, marks=pytest.mark.slow), 50])
def test_cycles_that_are_alike_are_the_same_one_by_one(size: int) -> None:
    trace = late(20_000)
    together, apart = run(trace), run(trace, advance=in_slices(size))
    for name, value in vars(together).items():
        if isinstance(value, np.ndarray):
            assert np.array_equal(value, getattr(apart, name)), name
    assert together.core_cycles == apart.core_cycles
    assert vars(together.retired).keys() == vars(apart.retired).keys()
    assert all(np.array_equal(v, getattr(apart.retired, k)) for k, v in vars(together.retired).items())
    assert together.dram == apart.dram


def test_late_input_leaves_the_machine_idle() -> None:
    """Every step ends after its input came, and what the source is late by is idle time of every block."""
    soon, later = late(100_000), late(2000)
    first, second = run(soon), run(later)
    arrivals = np.ceil(later.steps.arrival_seconds * HERTZ)
    assert np.all(second.step_end > arrivals)
    assert second.core_cycles > first.core_cycles
    idle = second.ledger[:, :, Cause.IDLE].sum(axis=0) - first.ledger[:, :, Cause.IDLE].sum(axis=0)
    more = second.core_cycles - first.core_cycles
    assert np.all(idle[[Block.PE_ARRAY, Block.DMA, Block.LOAD, Block.SEQUENCER]] > 0.9 * more)


def test_no_instruction_of_a_step_begins_before_its_input() -> None:
    trace = late(2000)
    found = run(trace)
    arrival = np.ceil(trace.steps.arrival_seconds * HERTZ)[found.retired.step[:-1]]
    assert np.all(found.retired.issue[:-1] >= arrival)


def test_a_pruned_image_takes_less_time() -> None:
    cycles = {name: run(family_trace(name)).core_cycles for name in ("llava", "vica", "hidrop", "visipruner")}
    assert cycles["vica"] < cycles["hidrop"] < cycles["llava"]
    assert cycles["visipruner"] < cycles["llava"]


def test_prefill_ends_when_its_last_instruction_does() -> None:
    found = run(family_trace("vica"))
    assert found.prefill_cycles == found.ledger[Phase.PREFILL, Block.PE_ARRAY].sum()
