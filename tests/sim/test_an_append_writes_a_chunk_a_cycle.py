"""Where nothing stands in its way, KV append writes a chunk every cycle, or one for the row tiles it takes."""

import numpy as np
import pytest

from skipopu.numerics.kv_rounds import place
from skipopu.numerics.kv_schedule import Limits, new_schedule
from skipopu.sim.kv_append_rows import (
    append_finished,
    ask_tile,
    begin_append,
    can_ask,
    chunk_there,
    next_chunk,
)
from skipopu.sim.machine import APPEND, TILES_AHEAD, KvCache, overlay_parameters, record
from skipopu.spec.overlay import Overlay

ROWS, LIMITS = 5, Limits(1, 1, 0, 0, 1, False, False)


def writes(overlay: Overlay, rows: int = ROWS, value: int = 1) -> tuple[list[int], int]:
    """Cycles after the operation's first in which a chunk is written, and the one in which it leaves."""
    p, a = overlay_parameters(overlay), record(APPEND)
    p.pair_bytes = 2 * max(overlay.tile_bytes, overlay.chunk_bytes)
    p.vector_bytes = p.stride_bytes = 3 * p.pair_bytes
    p.slots = ROWS
    sources = np.where(np.arange(ROWS) < rows, 0, -1)[None].astype(np.int16)
    c = KvCache(LIMITS, place(sources, p.ports), new_schedule(ROWS, LIMITS), np.zeros((1, 1), np.int32))
    begin_append(a, c, p, 0, value, 0, ROWS, rows)
    found, now = [], 1
    while not append_finished(a, pending=False):
        asks, there = can_ask(a, p), chunk_there(a, p, now)
        a.marks -= a.marks > 0
        if there:
            found.append(now)
            next_chunk(a, c, p)
        if asks:
            ask_tile(a, p, now)
        now += 1
    return found, now


@pytest.mark.parametrize("ratio", [1, 2, 4, 8])
@pytest.mark.parametrize("dot", [16, 64, 512])
@pytest.mark.parametrize("stages", [1, 2, 5, 8])
def test_chunks_follow_one_another(ratio: int, dot: int, stages: int) -> None:
    leaves = (f"clock.hbm_ratio={ratio}", f"pe_array.dot_length={dot}", f"global_buffer.read_stages={stages}")
    overlay = Overlay.load("tiny", leaves)
    tiles = max(overlay.chunk_bytes // overlay.tile_bytes, 1)
    found, leaves_in = writes(overlay)
    assert found[0] == 1 + tiles - 1 + stages + 1  # asked for, read, written to the queue
    assert set(np.diff(found).tolist()) == {tiles}
    assert leaves_in == found[-1] + 1
    assert overlay.append_tiles <= TILES_AHEAD


@pytest.mark.parametrize("rows", [0, 1, ROWS])
def test_k_marks_a_row_a_cycle_beside_the_data(rows: int) -> None:
    found, leaves = writes(Overlay.load("tiny"), rows, value=0)
    assert leaves == max(ROWS, *(cycle + 1 for cycle in found), 1)


def test_v_without_a_row_leaves_in_the_cycle_after_its_first() -> None:
    assert writes(Overlay.load("tiny"), 0) == ([], 1)
