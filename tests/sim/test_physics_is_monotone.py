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
from skipopu.sim.reference import simulate
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
@given(common=models(), skips=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted))
def test_more_skipping_is_not_slower(common: dict[str, Any], skips: list[float]) -> None:
    """Nested masks; where a reused K/V makes two tokens meet at a port, see the next test."""
    programs = [compile_trace(skipping(skip=skip, **common), TINY, BOARD) for skip in skips]
    less, more = (program.context.demand.rounds for program in programs)
    assume(less.shape == more.shape and not (more > less).any())
    slow, fast = (simulate(program, TINY, BOARD).core_cycles for program in programs)
    assert fast <= slow * PHASE_EFFECTS


@settings(max_examples=40)
@given(common=models(), skips=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted))
def test_only_reused_kv_takes_more_rounds_when_more_is_skipped(
    common: dict[str, Any], skips: list[float]
) -> None:
    assume(common["kv_policy"] != "reuse_last")
    less, more = (
        compile_trace(skipping(skip=skip, **common), TINY, BOARD).context.demand.rounds for skip in skips
    )
    assume(less.shape == more.shape)
    assert not (more > less).any()


def test_a_reused_kv_can_meet_another_token_at_its_port() -> None:
    """The machine's own price of cross-layer reuse: one skipped row more, and K/V rounds more.

    Layer 1 deals its own K/V out to the ports in turn; a token that reuses layer 0's K/V keeps its port
    there. One row less saves less than the rounds cost: 1.5 % here, and no phase effect.
    """
    knobs: dict[str, Any] = {"seed": 629, "kv_policy": "reuse_last", "ffn_input": "layer_input"}
    traces = [skipping(shape(), 10, 4, skip, **knobs) for skip in (0.6343, 0.6593)]
    changed = traces[0].rows("q") != traces[1].rows("q")
    assert changed.sum() == 1
    assert np.array_equal(traces[0].rows("ffn"), traces[1].rows("ffn"))
    programs = [compile_trace(trace, TINY, BOARD) for trace in traces]
    less, more = (program.context.demand.rounds for program in programs)
    assert (more - less).sum() >= 1
    runs = [simulate(program, TINY, BOARD) for program in programs]
    assert runs[1].core_cycles > runs[0].core_cycles * PHASE_EFFECTS


@settings(max_examples=25)
@given(common=models(), skip=st.floats(0, 0.9), scale=st.sampled_from([0.3, 0.5, 0.8]))
def test_a_faster_memory_is_not_slower(common: dict[str, Any], skip: float, scale: float) -> None:
    trace = skipping(skip=skip, **common)
    assert run(trace, TINY, board(scale)).core_cycles <= run(trace).core_cycles * PHASE_EFFECTS


LARGER = [
    ("dma.weight_chunks=32",),
    ("dma.kv_chunks=32",),
    ("dma.ddr_beats=64",),
    ("sequencer.queue_depth=8",),
    ("kv_buffer.capacity_bytes=16384",),
    ("kv_buffer.read_ports=4", "kv_buffer.write_ports=2"),
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
