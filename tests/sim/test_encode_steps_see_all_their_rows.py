"""An encode step: all its rows see one another and nothing older; scores that choose who goes on cost nothing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from family_traces import LAYERS, shape
from ordering import accesses, order_of, rows_of, unordered
from small_programs import shape as wide_shape

from skipopu.program.compiler import compile_trace
from skipopu.program.image import build_image
from skipopu.program.isa import Opcode
from skipopu.program.macs import macs
from skipopu.program.program import Program, validate_program
from skipopu.program.random_parameters import random_parameters
from skipopu.results.audit import audit
from skipopu.sim.reference import simulate
from skipopu.sim.run import Run
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Phase, Traffic
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import EventKind, StepPhase, Steps, Trace
from skipopu.trace.family import generate
from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.template import centre_token

BOARD = Board.load("u280")
KV_BYTES = 2 * 2 * Overlay.load("tiny").head_storage(16) * 2  # K and V of two heads of FP16 numbers
FILTERS = (2, 5)


def tiny(*settings: str) -> Overlay:
    return Overlay.load("tiny", ("bitmask.rows=64", "bitmask.tokens=1024", *settings))


def tracker(frames: int = 1, keep: float = 0.6, template: int = 9, model: ModelShape | None = None) -> Trace:
    knobs = (f"template={template}", "dynamic=2", f"filters={','.join(map(str, FILTERS))}", f"keep_share={keep}")
    return generate("utptrack", model or shape(), template, frames - 1, seed=1, knobs=knobs)


def causal(trace: Trace) -> Trace:
    """The same rows in a prefill without logits, of a trace without events."""
    steps = Steps.of([StepPhase.PREFILL], [trace.tokens])
    return Trace(trace.header, steps, {**trace.arrays, "logit_rows": np.zeros(1, np.int32)}, ())


def compiled(trace: Trace, *settings: str) -> Program:
    return compile_trace(trace, tiny(*settings), BOARD)


def run(trace: Trace, *settings: str) -> Run:
    return simulate(compiled(trace, *settings), tiny(*settings), BOARD)


def kv_read(found: Run) -> int:
    return int(found.traffic[Phase.PREFILL, Traffic.KV_READ])


@pytest.mark.parametrize("fused", ["true", "false"])
def test_a_step_of_one_block_costs_what_a_prefill_does(fused: str) -> None:
    """Later rows are masked without a cycle, and so they are seen without one."""
    whole = replace(tracker(keep=1, template=1), events=())
    assert len(compiled(whole).context.passes.rows) == 1
    encode, prefill = (run(t, f"dataflow.fused={fused}") for t in (whole, causal(whole)))
    assert encode.core_cycles == prefill.core_cycles
    assert np.array_equal(encode.traffic, prefill.traffic)


@pytest.mark.parametrize("block", [2, 3, 4])
def test_every_block_reads_all_rows_of_its_step(block: int) -> None:
    trace = tracker()
    program = compiled(trace, f"dataflow.row_block={block}")
    there = trace.rows("q").sum(axis=1)
    blocks = program.context.passes.present.sum(axis=0)
    assert program.context.passes.rows.max() == block
    assert kv_read(run(trace, f"dataflow.row_block={block}")) == (there * blocks).sum() * KV_BYTES


def test_a_frame_reads_nothing_of_the_frame_before() -> None:
    """Frames draw other tokens, but as many."""
    one, three = run(tracker()), run(tracker(3))
    assert kv_read(three) == 3 * kv_read(one)
    assert np.all(np.diff(three.step_end) < 1.02 * one.step_end[0])


def test_multiplications_are_those_of_the_products() -> None:
    for trace in (tracker(), tracker(2, 0.3)):
        assert macs(trace).sum() == total_macs(gemms(trace))
        assert [check for check in audit(run(trace), trace, tiny()) if not check.passed] == []


def test_no_row_attends_before_all_of_its_layer_are_in_the_cache() -> None:
    program = compiled(tracker())
    rows, layers = rows_of(program), program.tags[:, 1]
    order, found = order_of(rows), 0
    for layer in range(LAYERS):
        here = [i for i in range(len(rows)) if layers[i] == layer]
        appended = [i for i in here if rows[i]["opcode"] == Opcode.APPEND_KV]
        for read in (i for i in here if rows[i]["opcode"] == Opcode.READ_KV):
            own = [i for i in appended if rows[i]["value"] == rows[read]["value"]]
            found += len(own)
            assert all(order.before(i, read) for i in own)
            assert rows[read]["tokens"] == max(rows[i]["tokens"] for i in own)
    assert found > 100


def test_conflicting_accesses_are_ordered() -> None:
    for settings in ((), ("dataflow.fused=false",), ("constants.half_bytes=256",)):
        program = compiled(tracker(keep=1), *settings)
        assert unordered(rows_of(program), accesses(program)) == set()


def test_masking_is_off_in_every_pass_over_scores_of_an_encode_step() -> None:
    for trace, expected in ((tracker(), 1), (causal(tracker()), 0)):
        for settings in ((), ("dataflow.fused=false",)):
            rows = rows_of(compiled(trace, *settings))
            passes = (Opcode.SCORES, Opcode.CONTEXT, Opcode.STATISTICS, Opcode.NORMALIZE)
            assert {r["bidirectional"] for r in rows if r["opcode"] in passes and r["tokens"]} == {expected}
            assert {r["bidirectional"] for r in rows if r["opcode"] not in passes} == {0}


def test_scores_of_the_centre_stay_in_memory_until_its_layer_is_over() -> None:
    """All head pairs of its block, side by side, and nothing is written over them; no byte is moved for that."""
    model = wide_shape(layers=LAYERS, attention_heads=12, kv_heads=12)  # six pairs
    trace, overlay = tracker(model=model), tiny("dataflow.row_block=4")
    program = compile_trace(trace, overlay, BOARD)
    passes, room = program.context.passes, overlay.global_buffer.tiles * overlay.tile_bytes
    start = program.context.memory.ddr["scores0"] // 64
    for layer in FILTERS:
        spans = []
        for row, tag in zip(rows_of(program), program.tags.tolist(), strict=False):
            at = row["address"] - start
            if tag[1] == layer and row["opcode"] == Opcode.STORE_ROWS and 0 <= at < 2 * room // 64 and row["tokens"]:
                spans.append((tag[2], at, at + -(-row["rows"] * row["k_tiles"] * overlay.tile_bytes // 64)))
        last = spans[-1][0]
        block = passes.first.tolist().index(last)
        assert centre_token(trace, 0) in passes.tokens[last : last + passes.rows[block]]
        kept = sorted((first, end) for slot, first, end in spans if slot == last)
        assert len(kept) == 6
        assert all(a[1] <= b[0] for a, b in pairwise(kept))
    prunings = tuple(event for event in trace.events if event.kind is EventKind.PRUNE)
    without = Trace(trace.header, trace.steps, trace.arrays, prunings)
    plain, scored = (run(t, "dataflow.row_block=4") for t in (without, trace))
    assert np.array_equal(plain.traffic[:, : Traffic.INSTRUCTIONS], scored.traffic[:, : Traffic.INSTRUCTIONS])


def test_only_the_simulator_carries_it() -> None:
    trace = tracker()
    program, types = compiled(trace), tiny().datatypes
    numbers = random_parameters(shape(), trace.header.router, trace.tokens, 1, types.weights, types.lm_head)
    with pytest.raises(SpecError, match=r"encode steps, or vision states .* in the simulator only"):
        build_image(program, numbers)
    with pytest.raises(SpecError, match="bidirectional"):
        validate_program(program.words, tiny())
    validate_program(program.words, tiny(), simulated=True)
