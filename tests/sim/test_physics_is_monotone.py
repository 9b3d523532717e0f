"""More skipping, a faster memory, larger buffers, a wider array are not slower; a router costs its stalls.

Tolerance: 1 % for phase effects, i.e. where a refresh or a turn-around of a DRAM bus falls.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_machine import BOARD, TINY, run, shape, skipping

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Opcode
from skipopu.sim.run import Run
from skipopu.spec.board import Board
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace, dense_like

PHASE_EFFECTS = 1.01
SPEED = (
    "tRCD_read", "tRCD_write", "tCL", "tCWL", "tRP", "tRAS", "tCCD_L", "tRRD_S", "tRRD_L", "tFAW", "tWR",
    "tRTP", "tWTR_S", "tWTR_L", "tRTW", "tRFC",
)  # fmt: skip


# the longest interval the board takes: 22 500 core cycles
RARE_REFRESH = Board.load("u280", ("hbm.timing.tREFI=100000", "ddr.timing.tREFI=100000"))
SKIPS = st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted)


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """What is common to the traces that are compared."""
    model = shape(
        layers=draw(st.integers(2, 4)), hidden_size=draw(st.sampled_from([64, 128])),
        intermediate_size=draw(st.sampled_from([128, 256])),
    )  # fmt: skip
    return {
        "model": model, "prompt": draw(st.integers(1, 14)), "decode": draw(st.integers(0, 6)),
        "seed": draw(st.integers(0, 999)),
        "kv_policy": draw(st.sampled_from(["dense", "reuse_last", "evict"])),
        "ffn_input": draw(st.sampled_from(["layer_input", "post_attention"])),
    }  # fmt: skip


def board(scale: float) -> Board:
    """The board with every latency of the HBM scaled; the refresh interval and the bus stay."""
    old = BOARD.hbm.timing
    return Board.load("u280", tuple(f"hbm.timing.{name}={scale * getattr(old, name)}" for name in SPEED))


@settings(max_examples=60)
@given(common=models(), skips=SKIPS)
@pytest.mark.parametrize("memory", [BOARD, RARE_REFRESH], ids=["as it is", "rare refresh"])
def test_more_skipping_is_not_slower(memory: Board, common: dict[str, Any], skips: list[float]) -> None:
    """Nested masks, every K/V policy. With refresh as it is, short runs can exceed 1 %: see below."""
    slow, fast = (run(skipping(skip=skip, **common), TINY, memory).core_cycles for skip in skips)
    assert fast <= slow * PHASE_EFFECTS


def test_a_refresh_can_move_a_short_run_by_more_than_the_tolerance() -> None:
    """A known exception, 36 000 cycles long: one row skipped more is 1.92 % slower; its K/V take more rounds.

    Beyond the tolerance it is a phase effect: when refreshes are rare, the pair is within it.
    """
    knobs: dict[str, Any] = {"seed": 975, "kv_policy": "reuse_last", "ffn_input": "post_attention"}
    traces = [skipping(shape(layers=4), 10, 0, skip, **knobs) for skip in (0.4873, 0.4972)]
    assert sum((traces[0].rows(kind) != traces[1].rows(kind)).sum() for kind in ("q", "ffn")) == 1
    rounds = [int(compile_trace(trace, TINY, BOARD).context.demand.rounds.sum()) for trace in traces]
    assert rounds == [45, 53]
    less, more = (run(trace).core_cycles for trace in traces)
    assert PHASE_EFFECTS < more / less < 1.02
    less, more = (run(trace, TINY, RARE_REFRESH).core_cycles for trace in traces)
    assert more <= less * PHASE_EFFECTS


@settings(max_examples=40)
@given(common=models(), skips=SKIPS)
def test_only_reused_kv_takes_more_rounds_when_more_is_skipped(
    common: dict[str, Any], skips: list[float]
) -> None:
    assume(common["kv_policy"] != "reuse_last")
    less, more = (
        compile_trace(skipping(skip=skip, **common), TINY, BOARD).context.demand.rounds for skip in skips
    )
    assume(less.shape == more.shape)
    assert not (more > less).any()


@settings(max_examples=25)
@given(common=models(), skip=st.floats(0, 0.9), scale=st.sampled_from([0.3, 0.5, 0.8]))
def test_a_faster_memory_is_not_slower(common: dict[str, Any], skip: float, scale: float) -> None:
    trace = skipping(skip=skip, **common)
    assert run(trace, TINY, board(scale)).core_cycles <= run(trace).core_cycles * PHASE_EFFECTS


LARGER = [
    ("dma.weight_chunks=32",),
    ("dma.kv_chunks=32",),
    ("dma.ddr_beats=64",),
    ("kv_buffer.capacity_bytes=16384",),
    ("kv_buffer.ports=4",),
    ("pe_array.columns=16",),
]


@pytest.mark.parametrize("settings_", LARGER, ids=lambda names: names[0])
@settings(max_examples=12)
@given(common=models(), skip=st.floats(0, 0.9))
def test_a_larger_machine_is_not_slower(
    settings_: tuple[str, ...], common: dict[str, Any], skip: float
) -> None:
    trace = skipping(skip=skip, **common)
    assert run(trace, Overlay.load("tiny", settings_)).core_cycles <= run(trace).core_cycles * PHASE_EFFECTS


@settings(max_examples=25)
@given(common=models(), skip=st.floats(0, 0.9))
def test_deeper_engine_queues_are_not_slower(common: dict[str, Any], skip: float) -> None:
    """With rare refresh: engines that run further ahead meet other refreshes, worth 2 % in 25 000 cycles."""
    trace, deep = skipping(skip=skip, **common), Overlay.load("tiny", ("sequencer.queue_depth=8",))
    slow, fast = (run(trace, overlay, RARE_REFRESH).core_cycles for overlay in (TINY, deep))
    assert fast <= slow * PHASE_EFFECTS


@settings(max_examples=30)
@given(common=models())
def test_zero_skip_is_dense_plus_the_router(common: dict[str, Any]) -> None:
    """The router's price: its ROUTE instructions, and the latency of what their gates hold back."""
    trace = skipping(skip=0.0, **common)
    routed, dense = run(trace), run(dense_like(trace))
    cost = routed.core_cycles - dense.core_cycles
    assert -cost <= dense.core_cycles * (PHASE_EFFECTS - 1)
    assert cost <= router_cycles(trace, routed)
    moved = routed.traffic.sum(axis=0) - dense.traffic.sum(axis=0)
    assert {Traffic(kind) for kind in np.flatnonzero(moved)} <= {Traffic.CONSTANTS}


def router_cycles(trace: Trace, routed: Run) -> int:
    """Cycles of the ROUTE instructions, plus for each a first access to HBM and to DDR4."""
    r = routed.retired
    routes = np.flatnonzero(r.opcode == Opcode.ROUTE)
    o, hbm, ddr = TINY, BOARD.hbm, BOARD.ddr
    core = o.clock.core_mhz
    misses = [(m.read_latency + m.ticks.tRP + m.ticks.tRCD_read) * core / m.axi_mhz for m in (hbm, ddr)]
    access = sum(misses) + 2 * o.dma.crossing_stages
    return int((r.last - r.first + 1)[routes].sum() + len(routes) * access)


def test_the_price_of_the_router_is_stated() -> None:
    """Printed with ``pytest -s``: 4 layers of 256 elements, prompt 12, decode 6, linear routers, no skip."""
    trace = skipping(shape(layers=4, hidden_size=256, intermediate_size=512), 12, 6, 0.0)
    routed, dense = run(trace), run(dense_like(trace))
    cost = routed.core_cycles - dense.core_cycles
    modules = 2 * trace.layers * 8  # two row blocks and six tokens
    print(f"router: {cost} of {dense.core_cycles} cycles, {cost / modules:.0f} a module and pass")
    assert 0 < cost <= router_cycles(trace, routed)
