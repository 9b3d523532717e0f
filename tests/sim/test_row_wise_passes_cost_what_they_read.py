"""Norm and softmax in passes of their own: a cycle a tile, and nothing else of the program changes."""

from dataclasses import replace

import numpy as np
import pytest
from expected_counts import differences
from hand_made import carrier, hand_made, simulate
from hypothesis import given, settings
from hypothesis import strategies as st
from small_machine import BOARD, TINY, failed, run, shape, skipping, traces

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import COLUMN, Gate, Opcode, decode, encode
from skipopu.sim import reference
from skipopu.sim.error import SimulationError
from skipopu.sim.tile_source import EVERY_TILE
from skipopu.sim.work import Work, resolve_work
from skipopu.spec.ledger import Block, Cause, Part, Traffic
from skipopu.spec.overlay import BLOCK_RAM_READ, BLOCK_RAM_WRITE, Overlay
from skipopu.trace import Trace

ROOM = "psum.entries=1024"  # for the sums of any of `traces`: 12 query heads, each in 12 parts
FUSED = Overlay.load("tiny", (ROOM,))
ROW_WISE = Overlay.load("tiny", (ROOM, "dataflow.fused=false"))
ONE_HEAD = Overlay.load("tiny", (ROOM, "dataflow.packed_heads=1"))
HBM = [kind for kind in Traffic if kind.is_hbm]
WAY = TINY.global_buffer.read_stages + BLOCK_RAM_WRITE + BLOCK_RAM_READ  # of a tile from being asked for to the array


@settings(max_examples=12)
@given(rows=st.integers(1, 9), k_tiles=st.integers(1, 40))
def test_a_normalising_pass_takes_a_cycle_a_tile_and_its_pipelines(rows: int, k_tiles: int) -> None:
    """The first tile is asked for a cycle after the start; the pass retires a cycle after the last has left IFM."""
    program = hand_made([(Opcode.NORMALIZE, {"rows": rows, "k_tiles": k_tiles})], TINY)
    found = simulate(program, TINY).retired
    assert found.last[0] - found.first[0] == rows * k_tiles + WAY + TINY.npe.operand_latency + 1


@settings(max_examples=12)
@given(rows=st.integers(1, 9), k_tiles=st.integers(1, 40))
def test_the_sums_of_a_row_are_one_loop(rows: int, k_tiles: int) -> None:
    """A tile of a row waits until the one before is added; with as many rows as the adder has stages none does."""
    program = hand_made([(Opcode.STATISTICS, {"rows": rows, "k_tiles": k_tiles})], TINY)
    found = simulate(program, TINY).retired
    tiles = (k_tiles - 1) * max(rows, TINY.npe.add_stages) + rows
    assert found.last[0] - found.first[0] == tiles + WAY + TINY.npe.inverse_latency


@pytest.mark.parametrize("overlay", [TINY, ROW_WISE], ids=["fused", "row wise"])
@pytest.mark.parametrize("statistics", [0, 1])
def test_scores_take_statistics_if_the_instruction_says_so(overlay: Overlay, statistics: int) -> None:
    program = compile_trace(skipping(shape(), 8, 2, 0.0), overlay, BOARD)
    f = decode(program.words)
    scores = f[:, 0] == Opcode.SCORES
    f[scores, COLUMN["normalize"]] = statistics
    work = resolve_work(replace(program, words=encode(f)), overlay)[scores]
    assert set(work.distance) == {overlay.npe.softmax_distance * statistics}
    assert set(work.result_stages) == {overlay.result_latency + overlay.npe.statistics_latency * statistics}


@pytest.mark.parametrize("block", [1, 4, 8])
def test_softmax_reads_every_round_of_every_head_twice(block: int) -> None:
    """Three query heads a key head, two pairs: 12 heads a row; rounds of one token a port."""
    trace = carrier(8, kv_heads=4, attention_heads=12)
    overlay = Overlay.load("tiny", (f"dataflow.row_block={block}", "psum.entries=1024"))
    fields = {"rows": 5, "tokens": block, "pairs": 2, "group": 3}
    program = hand_made([(Opcode.STATISTICS, fields), (Opcode.NORMALIZE, fields | {"fence": 1})], overlay, trace)
    rounds = -(-block // overlay.dma.hbm_ports)
    found = simulate(program, overlay)
    assert found.ledger[0, Block.NPE, Cause.BUSY] == 2 * 5 * 12 * rounds
    assert found.ledger[:, Block.PE_ARRAY, Cause.BUSY].sum() == 0


def test_the_passes_of_a_model_are_those_its_rows_need() -> None:
    """Nothing skipped, one row block of 8, 2 layers: X is passed twice before attention and FFN, scores after QKᵀ."""
    trace = skipping(shape(), prompt=8, decode=0, skip=0.0, kv_policy="dense", always_on_attention=())
    overlay = Overlay.load("tiny", ("dataflow.fused=false", "psum.entries=1024"))
    found, tiles = run(trace, overlay), 64 // overlay.pe_array.dot_length
    rounds = -(-8 // overlay.dma.hbm_ports)
    alone = found.parts[0, :, Cause.IDLE]
    assert alone[Part.NORM] == 2 * 2 * 8 * tiles
    assert alone[Part.SOFTMAX] == 2 * 2 * 8 * 4 * rounds
    assert alone[Part.FFN_ROUTER] == 2 * 2 * 8 * tiles
    assert alone[Part.OUTSIDE] >= 2 * tiles  # the final norm, and what is left when all is done


@settings(max_examples=25)
@given(trace=traces())
def test_fused_or_not_the_products_and_their_operands_are_the_same(trace: Trace) -> None:
    fused, apart = run(trace, FUSED), run(trace, ROW_WISE)
    assert np.array_equal(fused.macs, apart.macs)
    assert np.array_equal(fused.traffic[:, HBM], apart.traffic[:, HBM])
    products = [part for part in Part if part not in (Part.NORM, Part.SOFTMAX)]
    busy = [found.parts[:, products, Cause.BUSY].sum(axis=0) for found in (fused, apart)]
    assert np.array_equal(*busy)
    kinds = [Traffic.ACTIVATIONS_READ, Traffic.ACTIVATIONS_WRITE]
    assert np.array_equal(fused.traffic[:, kinds].sum(axis=0), apart.traffic[:, kinds].sum(axis=0))


@settings(max_examples=10)
@given(trace=traces())
def test_one_head_a_pass_takes_the_array_twice_as_long_for_the_same_keys(trace: Trace) -> None:
    two, one = run(trace, FUSED), run(trace, ONE_HEAD)
    busy = [found.parts[:, :, Cause.BUSY].sum(axis=0) for found in (two, one)]
    assert busy[1][Part.SCORES] == 2 * busy[0][Part.SCORES]
    others = [part for part in Part if part != Part.SCORES]
    assert np.array_equal(busy[0][others], busy[1][others])
    assert np.array_equal(two.traffic[:, Traffic.KV_READ].sum(), one.traffic[:, Traffic.KV_READ].sum())


def test_cycles_of_a_part_are_those_of_its_own_instructions() -> None:
    """Scores and context by opcode, output and FFN by the gate of the last products of a module."""
    trace = skipping(shape(layers=3), 12, 3, 0.4, always_on_attention=(0,))
    program = compile_trace(trace, TINY, BOARD)
    work, found = resolve_work(program, TINY), reference.simulate(program, TINY, BOARD)
    busy, issued = found.parts[:, :, Cause.BUSY].sum(axis=0), work.blocks * work.depth * work.tile_rows
    for opcode, part in ((Opcode.SCORES, Part.SCORES), (Opcode.CONTEXT, Part.CONTEXT)):
        assert busy[part] == issued[work.opcode == opcode].sum() > 0
    f = decode(program.words)
    ffn = (f[:, COLUMN["gate"]] == Gate.FFN) & (work.opcode == Opcode.MATMUL)
    routed = (f[:, COLUMN["gate"]] == Gate.FFN) & (work.opcode == Opcode.ROUTE)
    assert busy[Part.FFN] == issued[ffn & (work.layer >= 0)].sum() > 0
    assert busy[Part.FFN_ROUTER] == issued[routed & (work.layer >= 0)].sum() > 0
    assert busy[Part.NORM] == busy[Part.SOFTMAX] == 0


FAULTS = {  # fault → column of the work table, opcode it is changed for, new value from old
    "a head is left out": ("tile_rows", Opcode.STATISTICS, lambda v: v // 2),
    "a row is normalised twice": ("tile_rows", Opcode.NORMALIZE, lambda v: 2 * v),
    "softmax is done again on the way in": ("operand", Opcode.CONTEXT, lambda v: 0 * v + EVERY_TILE),
    "a skipped row is normalised": ("rows", Opcode.NORMALIZE, lambda v: v + 1),
    "tiles pass beside the lanes": ("operand", Opcode.NORMALIZE, lambda v: 0 * v),
    "one head is multiplied with the keys of two": ("tile_bytes", Opcode.SCORES, lambda v: 2 * v),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_passes_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    column, opcode, change = FAULTS[fault]
    overlay = Overlay.load("tiny", ("dataflow.fused=false", "dataflow.packed_heads=1"))
    trace = skipping(shape(), 12, 3, 0.3)
    program = compile_trace(trace, overlay, BOARD)

    def wrong(*given: object) -> Work:
        work = resolve_work(*given)
        at = work.opcode == opcode
        work[column][at] = change(work[column][at])
        if column == "rows":  # what follows from it
            work["tile_rows"][at] += work["tile_rows"][at] // np.maximum(work["rows"][at] - 1, 1)
        return work

    assert failed(run(trace, overlay), trace, overlay) == []
    monkeypatch.setattr(reference, "resolve_work", wrong)
    monkeypatch.setattr(reference, "WATCHDOG_CYCLES", 5000)
    try:
        found = reference.simulate(program, overlay, BOARD)
    except SimulationError:
        return
    assert failed(found, trace, overlay) + differences(program, overlay, found)
