"""What each block of the matrix path does in which cycle, on programs written and watched by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hand_made import LOAD, PE, STORE, carrier, cycles, early_chunks, hand_made, matmul, simulate, watch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_machine import BOARD, TINY, shape, skipping

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Opcode, Post
from skipopu.sim import causes
from skipopu.sim.machine import Machine
from skipopu.spec.overlay import Overlay

U280 = Overlay.load("skipopu-u280")
WAIT = (Opcode.LOAD_CONSTANTS, {"columns": 1024, "signal": PE})  # long enough for every FIFO to fill


def now(m: Machine) -> int:
    return int(m.total.now)


def fed(m: Machine) -> int:
    """Rows of the instruction that IFM has asked for."""
    return int(m.ifm.requested)


def wide() -> Overlay:
    """``tiny`` whose weights come a tile a cycle, so that nothing waits for them."""
    return Overlay.load("tiny", ("dma.hbm_ports=8", "dma.weight_chunks=512", "npe.lanes=64"))


def test_an_int4_tile_is_loaded_every_second_cycle_on_the_u280() -> None:
    """64 × 128 INT4 weights are two sets of chunks; the FIFO holds 64 tiles when the product begins."""
    load, product = matmul(U280, 1, 32, 256)
    product[1]["wait"] = LOAD
    program = hand_made([WAIT, load, product], U280, carrier(hidden_size=128, head_dim=32))
    loaded = watch(program, U280, lambda m: (now(m), int(m.ker.loaded)))
    times = [b[0] for a, b in pairwise(loaded) if b[1] > a[1]]
    assert len(times) == 64
    assert {b - a for a, b in pairwise(times[2:])} == {2}  # the first two wait for the first row


@settings(max_examples=10)
@given(rows=st.integers(1, 16), k_tiles=st.integers(1, 12), blocks=st.integers(1, 4))
def test_the_array_takes_a_row_every_cycle(rows: int, k_tiles: int, blocks: int) -> None:
    """Initiation interval 1 across rows, tiles and column blocks while IFM, KER and PSUM change halves.

    A PSUM half is free again when its sums came through the array and have left; no block may be shorter.
    """
    overlay = wide()
    drained = overlay.pe_latency + rows * min(4, k_tiles)
    assume(blocks <= 2 or rows * k_tiles > drained)
    load, product = matmul(overlay, rows, k_tiles, blocks * overlay.pe_array.columns)
    product[1]["wait"] = LOAD
    seen = watch(hand_made([WAIT, load, product], overlay), overlay, lambda m: int(m.pe.cause))
    busy = [cycle for cycle, cause in enumerate(seen) if cause == causes.BUSY]
    assert len(busy) == rows * k_tiles * blocks
    assert busy[-1] - busy[0] + 1 == len(busy)


def test_results_drain_while_the_next_block_multiplies() -> None:
    overlay = wide()
    load, product = matmul(overlay, 8, 8, 6 * overlay.pe_array.columns)
    product[1]["wait"] = LOAD
    program = hand_made([WAIT, load, product], overlay)
    seen = watch(program, overlay, lambda m: (int(m.pe.cause), int(m.npe.cause)))
    assert (causes.BUSY, causes.BUSY) in seen
    assert causes.BACKPRESSURE not in [pe for pe, _ in seen]


@settings(max_examples=8)
@given(rows=st.integers(1, 8), k_tiles=st.integers(1, 4), lanes=st.sampled_from([2, 4]))
def test_a_block_waits_until_a_psum_half_is_free(rows: int, k_tiles: int, lanes: int) -> None:
    """Few lanes: never more than two blocks in PSUM, and the time of the results bounds the product's."""
    overlay = Overlay.load("tiny", ("dma.hbm_ports=8", "dma.weight_chunks=512", f"npe.lanes={lanes}"))
    blocks, width = 5, overlay.pe_array.columns
    load, product = matmul(overlay, rows, k_tiles, blocks * width)
    product[1]["wait"] = LOAD
    seen = watch(
        hand_made([WAIT, load, product], overlay), overlay,
        lambda m: (
            int(m.pe.row > 0 or m.pe.tile % k_tiles > 0), int(m.psum.tail - m.psum.head),
            int(m.pe.cause),
        ),
    )  # fmt: skip
    assert all(working + waiting <= 2 for working, waiting, _ in seen)
    entries = min(4, k_tiles)
    slots = rows * max(entries, -(-entries // 2) * width // lanes)  # pairs of entries leave in words
    if slots > rows * k_tiles:
        assert causes.BACKPRESSURE in [cause for *_, cause in seen]
    first = next(i for i, (*_, cause) in enumerate(seen) if cause == causes.BUSY)
    assert len(seen) - first >= rows * k_tiles + blocks * slots


@pytest.mark.parametrize("fence", [0, 1])
def test_a_fence_waits_until_earlier_results_are_written(fence: int) -> None:
    one, two = matmul(TINY, 8, 4, 32), matmul(TINY, 8, 4, 32, fence=fence)
    found = simulate(hand_made([*one, *two], TINY), TINY).retired
    products = np.flatnonzero(found.opcode == Opcode.MATMUL)
    waited = found.first[products[1]] >= found.last[products[0]]
    assert waited == bool(fence)


def attention(rows: int = 4) -> list[tuple[Opcode, dict[str, int]]]:
    """Scores of ``rows`` queries while a store reads the global buffer."""
    kv = {"tokens": rows, "rows": rows, "pairs": 1}
    return [
        (Opcode.READ_KV, kv),
        (Opcode.STORE_ROWS, {"rows": rows, "k_tiles": 120}),
        (Opcode.SCORES, kv | {"group": 2, "k_tiles": 2}),
    ]


@pytest.mark.parametrize("read_ports", [2, 3])
def test_packed_rows_wait_for_both_read_ports(read_ports: int) -> None:
    """Two heads are read together: with two ports a storing cycle feeds nothing, with three it does."""
    overlay = Overlay.load("tiny", (f"global_buffer.read_ports={read_ports}",))
    seen = watch(
        hand_made(attention(), overlay, carrier(4)), overlay,
        lambda m: (int(m.store.tiles), fed(m), int(m.pe.instruction)),
    )  # fmt: skip
    stored_and_fed = [
        b for a, b in pairwise(seen) if b[2] == 2 == a[2] and 0 < b[0] < a[0] and b[1] != a[1]
    ]
    assert bool(stored_and_fed) == (read_ports == 3)


def test_operands_have_lanes_of_their_own() -> None:
    """A product whose rows are normalised on the way in is fed while the results before it leave."""
    overlay = Overlay.load("tiny", ("dma.hbm_ports=8", "dma.weight_chunks=512", "npe.lanes=2"))
    program = hand_made([*matmul(overlay, 8, 2, 16), *matmul(overlay, 8, 4, 8, normalize=1)], overlay)
    seen = watch(program, overlay, lambda m: (int(m.npe.full), fed(m), int(m.pe.instruction)))
    second = [(a, b) for a, b in pairwise(seen) if a[2] == b[2] == 3]
    assert sum(a[0] == b[0] == 1 and b[1] > a[1] for a, b in second) >= 8


def test_a_row_is_read_again_only_once_it_is_written_back() -> None:
    """Two column blocks of a normalised row: the second waits for the lanes, and a row of many tiles does not."""
    overlay = Overlay.load("tiny", ("dma.hbm_ports=8", "dma.weight_chunks=512"))
    way = overlay.global_buffer.read_stages + overlay.npe.operand_latency
    for k_tiles in (1, 3, 2 * way):
        load, product = matmul(overlay, 1, k_tiles, 2 * overlay.pe_array.columns, normalize=1)
        product[1]["wait"] = LOAD
        seen = watch(hand_made([WAIT, load, product], overlay), overlay, fed)
        asked = [cycle for cycle, (a, b) in enumerate(pairwise(seen)) if b > a]
        assert asked[k_tiles] - asked[k_tiles - 1] == way + 1


def test_a_residual_takes_a_read_port() -> None:
    """Stored, fed and added tiles share the ports: as many reads as tiles, never more a cycle than there are ports."""
    overlay = Overlay.load("tiny", ("dma.hbm_ports=8", "dma.weight_chunks=512"))
    store = (Opcode.STORE_ROWS, {"rows": 8, "k_tiles": 120})
    product = matmul(overlay, 8, 4, 64, post=int(Post.RESIDUAL))
    seen = watch(hand_made([store, *product], overlay), overlay, lambda m: int(m.buffer.reads))
    blocks = 64 // overlay.pe_array.columns
    assert sum(seen) == 8 * 120 + 8 * 4 * blocks + 8 * blocks
    assert max(seen) == overlay.global_buffer.read_ports


def test_a_wait_is_met_the_cycle_after_the_signal() -> None:
    store = (Opcode.STORE_ROWS, {"rows": 1, "k_tiles": 4, "wait": PE})
    load, product = matmul(TINY, 4, 2, 16, signal=STORE)
    found = simulate(hand_made([load, product, store], TINY), TINY).retired
    assert found.first[2] == found.last[1] + 1
    assert found.issue[2] < found.first[2]


@pytest.mark.parametrize("policy", ["dense", "reuse_last"])
def test_no_chunk_is_used_before_it_comes_and_no_fifo_overflows(policy: str) -> None:
    trace = skipping(shape(), 4, 1, 0.3, kv_policy=policy)
    assert not any(early_chunks(m) for m in cycles(compile_trace(trace, TINY, BOARD), TINY))
