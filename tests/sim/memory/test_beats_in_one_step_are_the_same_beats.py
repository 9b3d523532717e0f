"""`run_of_beats` is a matter of speed only: the beats of a port in a core cycle are those of `tick`."""

import numpy as np
import pytest
from dram_traffic import Burst, memory_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.jit import jit
from skipopu.sim.dram import Dram, free_slots, new_dram, push, run_of_beats, tick

TICKS = 2  # of the AXI clock in a core cycle
CYCLES = 1500


@jit
def _beats(dram: Dram, bursts: NDArray[np.int64], batched: bool, out: NDArray[np.int64]) -> None:
    """``out`` [cycle, (beats, sum of tags, responses)]."""
    pushed = 0
    for cycle in range(len(out)):
        now = cycle * TICKS
        if pushed < len(bursts) and bursts[pushed, 0] <= cycle and free_slots(dram, 0) > 0:
            push(dram, 0, bursts[pushed, 1], bursts[pushed, 2], bursts[pushed, 3] != 0, pushed, now)
            pushed += 1
        code = run_of_beats(dram, 0, now, TICKS) if batched else -1
        if code >= 0:
            out[cycle, 0] += TICKS
            out[cycle, 1] += TICKS * (code >> 1)
        else:
            for sub in range(TICKS):
                beat = tick(dram, 0, now + sub)
                if beat >= 0:
                    out[cycle, 0] += 1
                    out[cycle, 1] += beat >> 1
        out[cycle, 2] = dram.channels[0].write_responses


def observed(bursts: list[Burst], batched: bool) -> NDArray[np.int64]:
    out = np.zeros((CYCLES, 3), np.int64)
    _beats(new_dram(memory_of("hbm"), 1), np.array([tuple(b) for b in bursts], np.int64), batched, out)
    return out


burst = st.builds(
    Burst,
    start=st.integers(0, 400),
    address=st.integers(0, 4000).map(lambda n: n * 512),
    beats=st.integers(1, 16),
    is_write=st.booleans(),
)


@given(st.lists(burst, min_size=1, max_size=40).map(lambda bs: sorted(bs, key=lambda b: b.start)))
@settings(max_examples=60, deadline=None)
def test_batched_and_single_ticks_deliver_the_same(bursts: list[Burst]) -> None:
    assert np.array_equal(observed(bursts, batched=True), observed(bursts, batched=False))


def test_a_stream_is_batched_at_all() -> None:
    dram = new_dram(memory_of("hbm"), 1)
    push(dram, 0, 0, 16, False, 3, 0)
    batched = 0
    for cycle in range(60):
        if run_of_beats(dram, 0, cycle * TICKS, TICKS) >= 0:
            batched += 1
        else:
            tick(dram, 0, cycle * TICKS)
            tick(dram, 0, cycle * TICKS + 1)
    assert batched == pytest.approx(7, abs=1)  # 16 beats, the last ones singly
