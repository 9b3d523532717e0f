"""Heads: rows and columns that a trace asks for, no more; what they need lies behind what every model has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from family_traces import family_trace
from hypothesis import given
from hypothesis import strategies as st
from ordering import accesses, rows_of, unordered
from small_programs import board, program, tiny
from small_programs import shape as small_shape

from skipopu.program import emitter
from skipopu.program.builder import Builder
from skipopu.program.head_matrices import Heads
from skipopu.program.image import build_image
from skipopu.program.isa import ADDRESS_UNIT, Opcode
from skipopu.program.macs import macs
from skipopu.program.memory_map import map_memory
from skipopu.program.program import Program
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Phase
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import (
    Event,
    EventKind,
    Header,
    Provenance,
    Router,
    ScoreOp,
    Segment,
    StepPhase,
    Steps,
    Trace,
    make_trace,
)
from skipopu.trace.gemms import gemms

FAMILIES = ("teacher_scoring", "minireranker", "decision_head", "embedlens", "streaming_thinker", "wait_k", "dense")
MORE = ("class_head", "decision_head", "word_head")
VOCABULARY, LAYERS = 150, 3  # two parts in a small constants half


def shape(**changes: Any) -> ModelShape:
    return small_shape(vocabulary=VOCABULARY, **changes)


def plain(phases: Sequence[int], counts: list[int], events: tuple[Event, ...] = (), **more: Any) -> Trace:
    """Every row runs unless ``rows`` says otherwise; ``visual`` tokens come first."""
    visual = more.pop("visual", 0)
    segments = (Segment("visual", 0, visual), Segment("text", visual, sum(counts) - visual)) if visual else ()
    of = more.pop("of", shape())
    header = Header("test", of, Router(), "dense", Provenance("synthetic", 0, {}, "a test"), segments=segments)
    rows = more.pop("rows", np.ones((LAYERS, sum(counts)), bool))
    return make_trace(header, Steps.of(phases, counts), q=rows, kv=rows, ffn=rows, events=list(events), **more)


def search(rows: int = 6, words: int = VOCABULARY, layer: int = 0, step: int = 0) -> Event:
    return Event(EventKind.SCORE_OP, step, layer=layer, op=ScoreOp.VOCABULARY_COSINE, rows=rows, keys=words)


def decision(step: int, acted: int = 1) -> Event:
    return Event(EventKind.DECISION_OP, step, outcome=acted)


def everything(of: ModelShape) -> Trace:
    """Visual tokens are searched for words, several logits, a write of two tokens after a decision, a score."""
    phases = [StepPhase.PREFILL, StepPhase.WRITE, StepPhase.WRITE, StepPhase.SCORE]
    logits, events = np.asarray([7, 2, 0, 1]), (search(), decision(1), decision(2, 0))
    return plain(phases, [12, 2, 1, 5], events, visual=6, logit_rows=logits, of=of)


def products(p: Program) -> list[tuple[int, int, int, int]]:
    """(step, rows, columns, first weight) of every product outside the layers, in execution order."""
    found, weights = [], -1
    for row, (step, layer, _) in zip(rows_of(p), p.tags.tolist(), strict=False):
        weights = row["address"] * ADDRESS_UNIT if row["opcode"] == Opcode.LOAD_WEIGHTS else weights
        if row["opcode"] == Opcode.MATMUL and layer < 0:
            found.append((step, row["rows"], row["columns"], weights))
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_multiplications_are_those_of_the_gemms(name: str) -> None:
    trace = family_trace(name)
    wanted = [0] * len(Phase)
    for g in gemms(trace):
        wanted[Phase.DECODE if trace.steps.decoding()[g.step] else Phase.PREFILL] += g.macs
    assert macs(trace).tolist() == wanted


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=4), data=st.data(),
)  # fmt: skip
def test_heads_multiply_the_rows_and_columns_of_the_gemms(counts: list[int], data: st.DataObject) -> None:
    """Products outside the layers, instruction by instruction, against the trace's own count."""
    steps = range(len(counts))
    phases = [data.draw(st.sampled_from([StepPhase.PREFILL, StepPhase.WRITE, StepPhase.SCORE])) for _ in steps]
    logits = np.asarray([data.draw(st.integers(0, n)) for n in counts])
    events = tuple(decision(step) for step in steps if data.draw(st.booleans()))
    trace = plain(phases, counts, events, logit_rows=logits)
    found = [0] * len(counts)
    for step, rows, columns, _ in products(program(trace)):
        found[step] += rows * columns * trace.header.shape.dimensions.hidden_size
    wanted = [sum(g.macs for g in gemms(trace) if g.step == step and g.layer < 0) for step in steps]
    assert found == wanted


def test_each_head_streams_its_own_matrix() -> None:
    p = program(everything(shape()))
    begins = {matrix.offset: name for (layer, name), matrix in p.context.memory.matrices.items() if layer < 0}
    asked = [(step, rows, begins[at]) for step, rows, _, at in products(p)]
    assert {(step, name) for step, _, name in asked} == {
        (0, "word_head"), (0, "lm_head"), (1, "decision_head"), (1, "lm_head"), (2, "decision_head"), (3, "class_head"),
    }  # fmt: skip
    assert next(name for step, _, name in asked if step == 1) == "decision_head"
    rows = {key: sum(n for s, n, name in asked if (s, name) == key) for key in {(s, name) for s, _, name in asked}}
    assert rows == {
        (0, "word_head"): 6, (0, "lm_head"): 7, (1, "decision_head"): 1, (1, "lm_head"): 2, (2, "decision_head"): 1,
        (3, "class_head"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("count", [1, 3])
def test_a_decision_comes_before_the_logits_it_may_spare(count: int) -> None:
    p = program(plain([StepPhase.PREFILL, StepPhase.WRITE], [4, count], (decision(1),)))
    assert [(rows, columns) for step, rows, columns, _ in products(p) if step == 1] == [(1, 2), (1, VOCABULARY)]


def test_two_columns_cost_one_column_block_of_weights() -> None:
    overlay, memory = tiny(), program(everything(shape())).context.memory
    dot, bits = overlay.pe_array.dot_length, 4
    block = memory.matrices[-1, "class_head"].k_tiles * dot * overlay.pe_array.columns * bits // 8
    for name in ("class_head", "decision_head"):
        matrix = memory.matrices[-1, name]
        assert (matrix.columns, matrix.chunk_sets) == (2, -(-block // overlay.hbm_bytes_per_cycle))


def test_tied_embeddings_lie_in_memory_once() -> None:
    apart, tied = (program(everything(shape(tied_embeddings=tied))).context.memory for tied in (False, True))
    assert tied.matrices[-1, "word_head"] == tied.matrices[-1, "lm_head"]
    assert apart.matrices[-1, "word_head"].offset > apart.matrices[-1, "lm_head"].offset
    for memory in (apart, tied):  # a word's length is its scale's, so that these are the search's own
        scales = {memory.constants[-1, name][0].address for name in ("lm_head", *MORE)}
        assert len(scales) == 4


def test_nothing_of_the_model_moves() -> None:
    """Matrices and constants keep their places; behind them come the heads, and behind those the cache."""
    less = map_memory(shape(), tiny(), board(), 40, Router())
    more = map_memory(shape(), tiny(), board(), 40, Router(), heads=Heads(70, MORE, 60))
    assert more.matrices.items() >= less.matrices.items()
    assert more.constants.items() >= less.constants.items()
    end = max(m.offset + m.chunk_sets * tiny().chunk_bytes for m in more.matrices.values())
    assert more.kv_base >= end > less.kv_base
    assert map_memory(shape(), tiny(), board(), 40, Router(), heads=Heads()) == less
    results, x = 2 * VOCABULARY, 2 * shape().dimensions.hidden_size
    assert more.ddr["program"] - more.ddr["logits"] >= 70 * results
    assert more.ddr["logits"] - more.ddr["last"] >= 70 * x
    assert more.ddr["similarities"] - more.ddr["visual"] >= 60 * x


@pytest.mark.parametrize("change", [(), ("dataflow.fused=false",), ("constants.half_bytes=256",)])
def test_what_conflicts_is_ordered(change: tuple[str, ...]) -> None:
    p = program(everything(shape()), *change)
    assert unordered(rows_of(p), accesses(p)) == set()


@pytest.mark.parametrize("change", [(), ("constants.half_bytes=256",)])
def test_transfers_stay_in_their_regions(change: tuple[str, ...]) -> None:
    p = program(everything(shape()), *change)
    starts, tile = sorted(p.context.memory.ddr.values()), p.context.overlay.tile_bytes
    end = p.context.memory.ddr["similarities"] + 6 * 12 * tile  # a row's 10 tiles in whole words
    for row in rows_of(p):
        if row["opcode"] in (Opcode.LOAD_ROWS, Opcode.STORE_ROWS) and not row["tokens"]:
            first, size = row["address"] * ADDRESS_UNIT, row["rows"] * row["k_tiles"] * tile
            assert sum(s <= first for s in starts) == sum(s < first + size for s in starts)
            assert first + size <= end


class Recorder(Builder):
    """Keeps what every load declares that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[int, list[object]] = {}

    def emit(self, opcode, reads=(), writes=(), ignore=-1, **fields):  # type: ignore[no-untyped-def]
        index = super().emit(opcode, reads := list(reads), writes, ignore, **fields)
        self.read[index] = reads
        return index


def test_rows_that_follow_from_results_wait_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings of written tokens, and of visual tokens that are chosen; those of a text are there before."""
    recorders: list[Recorder] = []
    monkeypatch.setattr(emitter, "Builder", lambda: recorders.append(Recorder()) or recorders[-1])  # type: ignore[func-returns-value]
    p = program(everything(shape()))
    ddr, (recorder,) = p.context.memory.ddr, recorders
    waits = {0: True, 1: True, 3: False}  # step 2 is a decode pass
    for i, (row, (step, _, _)) in enumerate(zip(rows_of(p), p.tags.tolist(), strict=False)):
        at = row["address"] * ADDRESS_UNIT
        if row["opcode"] == Opcode.LOAD_ROWS and ddr["prompt"] <= at < ddr["constants"]:
            assert ("next_token" in recorder.read[i]) == waits[step]


def test_a_step_of_several_written_tokens_is_no_decode_pass() -> None:
    """Nine tokens make a block of one row as well: its keys and values come as those of the others do."""
    p = program(plain([StepPhase.PREFILL, StepPhase.WRITE, StepPhase.WRITE], [4, 9, 1]))
    passes = p.context.passes
    assert passes.decode.tolist() == [step == 2 for step in passes.step.tolist()]
    assert (passes.rows[passes.step == 1] == 1).any()


REFUSED: list[tuple[Any, str]] = [
    (
        lambda: plain([StepPhase.PREFILL], [8], (search(5),), visual=6),
        "trace: event score_op at step 0: vocabulary_cosine of 5 rows and 150 words in layer 0; the compiler takes the"
        " 6 visual tokens of a step that reads, all 150 words, layer 0",
    ),
    (lambda: plain([StepPhase.PREFILL], [8], (search(words=50),), visual=6), "trace: event score_op at step 0: voc"),
    (lambda: plain([StepPhase.PREFILL], [8], (search(layer=1),), visual=6), "trace: event score_op at step 0: voc"),
    (lambda: plain([StepPhase.WRITE], [8], (search(),), visual=6), "trace: event score_op at step 0: vocabulary_cos"),
    (
        lambda: plain([StepPhase.PREFILL], [8], rows=np.arange(8)[None].repeat(LAYERS, 0) < 7),
        "trace step 0: a head meets token 7, which runs in no layer; let it run in one",
    ),
]


@pytest.mark.parametrize(("of", "text"), REFUSED)
def test_what_heads_cannot_work_on_is_refused(of: Any, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        program(of())
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize("trace", [
    plain([StepPhase.PREFILL], [8], logit_rows=np.asarray([2])), plain([StepPhase.SCORE], [8]),
    plain([StepPhase.PREFILL], [8], (decision(0),)), plain([StepPhase.PREFILL], [8], (search(),), visual=6),
])  # fmt: skip
def test_an_image_has_no_numbers_for_more_heads(trace: Trace) -> None:
    p = program(trace)
    with pytest.raises(SpecError) as caught:
        build_image(p, random_parameters(shape(), Router(), 8))
    assert str(caught.value) == "trace: logits of several rows, scores, decisions or a search: in the simulator only"
