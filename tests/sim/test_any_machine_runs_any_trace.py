"""Whatever the overlay and the trace: the run ends, its audit is clean, and it is the same every time."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from small_machine import BOARD, failed, overlays, run, shape, skipping, traces

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import ENGINES, Opcode
from skipopu.program.program import Program
from skipopu.sim.reference import simulate
from skipopu.sim.run import Run
from skipopu.sim.work import Work, resolve_work
from skipopu.spec.ledger import Block, Cause
from skipopu.spec.overlay import TRANSFER_STAGES, Overlay
from skipopu.trace import Trace

MOST_CYCLES = 3_000_000  # the longest of these runs takes a tenth of it


def arrays(found: Run) -> dict[str, object]:
    """Every number of a run by name."""
    flat = {f.name: getattr(found, f.name) for f in fields(found)}
    return flat | {f.name: getattr(found.retired, f.name) for f in fields(found.retired)} | {"retired": None}


@settings(max_examples=120)
@given(trace=traces(), overlay=overlays())
def test_every_run_ends_with_a_clean_audit(trace: Trace, overlay: Overlay) -> None:
    program = compile_trace(trace, overlay, BOARD)
    found = simulate(program, overlay, BOARD, max_cycles=MOST_CYCLES)
    assert failed(found, trace, overlay) == []
    assert np.array_equal(found.asked, found.traffic)
    assert not found.semaphores.any()
    spans = np.array([found.prefill_cycles, found.core_cycles - found.prefill_cycles])
    assert np.array_equal(found.ledger.sum(axis=2), np.repeat(spans[:, None], len(Block), axis=1))
    r = found.retired
    assert len(r.last) == len(program)
    assert ((r.issue >= 0) & (r.issue <= r.first) & (r.first <= r.last) & (r.last < found.core_cycles)).all()


@settings(max_examples=25)
@given(trace=traces(), overlay=overlays())
def test_two_runs_are_equal_in_every_number(trace: Trace, overlay: Overlay) -> None:
    one, two = arrays(run(trace, overlay)), arrays(run(trace, overlay))
    assert all(np.array_equal(one[name], two[name]) for name in one)


@settings(max_examples=40)
@given(trace=traces(), overlay=overlays())
def test_an_instruction_without_rows_retires_at_once_and_keeps_its_semaphores(
    trace: Trace, overlay: Overlay
) -> None:
    program = compile_trace(trace, overlay, BOARD)
    found, work = simulate(program, overlay, BOARD), resolve_work(program, overlay)
    r = found.retired
    for engine, block in enumerate(ENGINES):
        mine = np.flatnonzero(work.engine == engine)
        before = np.concatenate([[-1], r.last[mine][:-1]])  # an engine retires in order, the NPE one a cycle
        before += block == Block.PE_ARRAY
        at_once = r.first[mine] + cycles_without_rows(program, work)[mine]
        off = work.rows[mine] == 0
        assert np.array_equal(r.last[mine][off], np.maximum(at_once, before)[off]), block.label
    assert not found.semaphores.any()


def cycles_without_rows(program: Program, work: Work) -> NDArray[np.int64]:
    """Cycles an instruction whose gate is closed takes after its first.

    The weight engine sees a cycle later that nothing is left; the NPE retires for the array. Load and store work out
    how much they move, whatever comes of it. For K the scheduler still
    brings its table up to date: two cycles to the first token, one a token, one to see the end, one to say so; an
    append marks every row of the block in the bitmask, and sees in the cycle after its first that nothing is left.
    """
    cycles = (work.opcode == Opcode.LOAD_WEIGHTS) | (work.engine == ENGINES.index(Block.PE_ARRAY))
    scan = np.where(work.value == 0, work.tokens + 3, 1)
    found = np.where(work.opcode == Opcode.READ_KV, scan, cycles.astype(np.int64))
    transfers = np.isin(work.opcode, (Opcode.LOAD_ROWS, Opcode.LOAD_CONSTANTS, Opcode.STORE_ROWS))
    found = np.where(transfers, TRANSFER_STAGES, found)
    return np.where(work.opcode == Opcode.APPEND_KV, np.where(work.value == 0, work.block_rows, 1), found)


@pytest.mark.parametrize("router", ["linear", "mlp", "bottleneck"])
@pytest.mark.parametrize("policy", ["dense", "reuse_last", "evict"])
def test_a_trace_that_skips_everything_it_may_still_ends(router: str, policy: str) -> None:
    hidden = 0 if router == "linear" else 8
    knobs = {"kv_policy": policy, "router": router, "router_hidden": hidden}
    trace = skipping(shape(layers=3), skip=1.0, always_on_attention=(0,), **knobs)
    assert failed(run(trace), trace) == []


def test_a_block_with_work_is_never_idle() -> None:
    """The engines that move K/V are idle only in cycles in which they hold no instruction."""
    trace = skipping(shape(head_dim=32), prompt=12, decode=4, skip=0.0)
    found = run(trace)
    r = found.retired
    for block in (Block.LOAD, Block.STORE, Block.KV_BUFFER, Block.KV_APPEND):
        mine = r.engine == block
        working = int((r.last[mine] - r.first[mine] + 1).sum())
        causes = found.ledger[:, block].sum(axis=0)
        assert causes.sum() - causes[Cause.IDLE] - causes[Cause.SEMAPHORE] == working, block.label


def test_the_overlay_of_the_paper_runs_too() -> None:
    overlay = Overlay.load("skipopu-u280")
    trace = skipping(shape(hidden_size=256, head_dim=64, intermediate_size=512), prompt=70, decode=2)
    assert failed(run(trace, overlay), trace, overlay) == []
