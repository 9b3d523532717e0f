"""On the functional machine heads give the rows that a trace asks for what the model gives them, in every bit.

Images of such traces are refused, for the numbers of a model have no heads beside the LM head: these tests bring them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import BOARD, DIMENSIONS

from skipopu.numerics.decoder import Decoder
from skipopu.numerics.decoder_products import Products
from skipopu.program import image, image_check, image_vectors
from skipopu.program.compiler import compile_trace
from skipopu.program.head_matrices import Heads
from skipopu.program.image_matrices import matrix_of
from skipopu.program.image_vectors import tiled, to_bytes
from skipopu.program.isa import COLUMN, Opcode, decode
from skipopu.program.numerical_run import routing_of
from skipopu.program.parameters import Bits, Linear, ModelParameters
from skipopu.program.program import Program
from skipopu.program.random_parameters import random_parameters
from skipopu.sim.functional.machine import run
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
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

TOKENS, LAYERS, VOCABULARY = 24, DIMENSIONS["layers"], 150  # two parts in a small constants half
ROW_WISE, SMALL, FP16 = "dataflow.fused=false", "constants.half_bytes=256", "datatypes.lm_head=fp16"


@dataclass(frozen=True)
class Made:
    """A trace's program, the memory that it leaves, the model, and its numbers and hidden states."""

    program: Program
    ddr: Any
    parameters: ModelParameters
    overlay: Overlay
    states: Bits  # [tokens, D], as they leave the last layer

    def heads(self, x: Bits, head: Linear) -> Bits:
        """What a head gives normalised rows."""
        products = Products(self.overlay, self.parameters.epsilon)
        return products.linear(products.norm(x, self.parameters.final_norm), head)

    def read(self, region: str, rows: int, columns: int, at: int = 0) -> Bits:
        """Results of rows that were multiplied together, the first of them row ``at`` of its step."""
        memory, dot = self.program.context.memory, self.overlay.pe_array.dot_length
        word, found = self.overlay.ddr_bytes_per_cycle, []
        most = self.program.context.memory.matrices[-1, "lm_head"].parts[0].columns
        apart = -(-(-(-columns // dot) * dot * 2) // word) * word
        for first in range(0, columns, most):
            count = min(most, columns - first)
            tiles = -(-count // dot)
            start = memory.ddr[region] + at * apart + first * 2 * rows
            own = self.ddr.read(start, tiles * rows * dot * 2).view("<u2").reshape(tiles, rows, dot)
            found.append(own.transpose(1, 0, 2).reshape(rows, -1)[:, :count])
        return np.concatenate(found, axis=1)


def class_head(p: ModelParameters) -> Linear:
    return Linear(p.lm_head.weights[[7, 3]], p.lm_head.scales[[7, 3]])


def decision_head(p: ModelParameters) -> Linear:
    return Linear(p.lm_head.weights[40:42][:, ::-1].copy(), p.lm_head.scales[40:42])


def word_head(p: ModelParameters) -> Linear:
    return Linear(p.lm_head.weights, p.lm_head.scales[::-1].copy())


OWN: dict[str, Callable[[ModelParameters], Linear]] = {
    "class_head": class_head, "decision_head": decision_head, "word_head": word_head,
}  # fmt: skip


def numbers_of(parameters: ModelParameters, overlay: Overlay, layer: int, name: str) -> Linear:
    return OWN[name](parameters) if name in OWN else matrix_of(parameters, overlay, layer, name)


def outcome(trace: Trace, *changes: str) -> Made:
    """Run a trace with numbers of a model; steps of one generated token are decoded, others prefilled."""
    overlay, tokens = Overlay.load("tiny", changes), trace.tokens
    parameters = random_parameters(trace.header.shape, Router(), tokens, 5, "int4", overlay.datatypes.lm_head)
    program = compile_trace(trace, overlay, BOARD)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_check, "heads_of", lambda _: Heads())
        patch.setattr(image, "matrix_of", numbers_of)
        patch.setattr(image_vectors, "matrix_of", numbers_of)
        memory = image.build_image(program, parameters)
    _write_visual(memory.ddr, program, parameters)
    rows = int(program.context.passes.rows.max())
    decoder = Decoder(overlay, parameters, routing_of(trace.header), tokens, rows)
    ids, states = trace.array("token_ids"), []
    assert ids is not None
    for first, count, generates in zip(
        trace.steps.first_token, trace.steps.token_count, trace.steps.decoding(), strict=True
    ):
        own = [int(n) for n in ids[first : first + count]]
        gates = np.stack([trace.rows(kind)[:, first : first + count] for kind in ("q", "ffn")])
        if generates and count == 1:
            states.append(decoder.decode(own[0]).hidden[-1])
            continue
        found = decoder.prefill(own, all_rows=True, gates=gates)
        states.append(found.hidden[-1])
    return Made(program, run(program, memory).image.ddr, parameters, overlay, np.concatenate(states))


def _write_visual(ddr: Any, program: Program, parameters: ModelParameters) -> None:
    """Embeddings of the tokens that look for their word, as many rows as are loaded together."""
    c = program.context
    done = 0
    for rows in together(program, "visual", Opcode.LOAD_ROWS):
        own = parameters.embedding[visual_ids(c.trace)[done : done + rows]]
        at = c.memory.ddr["visual"] + done * c.memory.strides.row
        ddr.write(at, to_bytes(tiled(own, c.overlay.pe_array.dot_length)))
        done += rows


def together(program: Program, region: str, opcode: Opcode) -> list[int]:
    """Rows of each group that goes to or comes from a region of DDR4; a group's column parts count once."""
    c, f = program.context, decode(program.words)
    end = min((at for at in c.memory.ddr.values() if at > c.memory.ddr[region]), default=1 << 40)
    bytes_ = f[:, COLUMN["address"]] * 64
    here = (f[:, 0] == opcode) & (c.memory.ddr[region] <= bytes_) & (bytes_ < end)
    parts = len(c.memory.matrices[-1, "lm_head"].parts) if opcode == Opcode.STORE_ROWS else 1
    return [int(rows) for rows in f[here, COLUMN["rows"]][::parts]]


def visual_ids(trace: Trace) -> Any:
    ids, segment = trace.array("token_ids"), next(s for s in trace.header.segments if s.type == "visual")
    assert ids is not None
    return ids[segment.first : segment.first + segment.count]


def trace_of(phases: list[int], counts: list[int], events: tuple[Event, ...] = (), **arrays: Any) -> Trace:
    shape = ModelShape.from_values("small", "a test", **(DIMENSIONS | {"vocabulary": VOCABULARY}))
    segments, policy = arrays.pop("segments", ()), arrays.pop("policy", "dense")
    header = Header("test", shape, Router(), policy, Provenance("synthetic", 0, {}, "a test"), segments=segments)
    rows = arrays.pop("rows", np.ones((LAYERS, sum(counts)), bool))
    ids = np.random.default_rng(1).integers(0, VOCABULARY, sum(counts)).astype(np.int32)
    steps = Steps.of(phases, counts)
    return make_trace(header, steps, q=rows, kv=rows, ffn=rows, token_ids=ids, events=list(events), **arrays)


def last_rows(found: Made, rows: int) -> Bits:
    return found.heads(found.states[len(found.states) - rows :], found.parameters.lm_head)


def read_all(found: Made, region: str) -> Bits:
    """Results of all rows, in the groups in which they were stored."""
    parts, done = [], 0
    for rows in together(found.program, region, Opcode.STORE_ROWS):
        parts.append(found.read(region, rows, VOCABULARY, done))
        done += rows
    return np.concatenate(parts)


@settings(max_examples=10)
@given(tokens=st.integers(1, TOKENS), share=st.floats(0, 1), change=st.sampled_from([(), (ROW_WISE,), (SMALL,)]))
def test_logits_of_the_last_rows_of_a_step(tokens: int, share: float, change: tuple[str, ...]) -> None:
    rows = max(1, round(share * tokens))
    found = outcome(trace_of([StepPhase.PREFILL], [tokens], logit_rows=np.asarray([rows])), *change)
    assert np.array_equal(read_all(found, "logits"), last_rows(found, rows))


def test_rows_that_left_are_found_where_they_ended() -> None:
    """Tokens 1 and 2 of 4 leave at layer 1: the others are gathered anew, the states of the two stay where they lay."""
    rows, gone = np.ones((LAYERS, 4), bool), (1, 2)
    rows[1:, gone] = False
    events = (Event(EventKind.EXIT, 0, layer=1, rows=2, kept=gone),)
    found = outcome(trace_of([StepPhase.PREFILL], [4], events, rows=rows, logit_rows=np.asarray([4]), policy="evict"))
    assert found.program.context.passes.rows.tolist() == [4, 2]
    assert together(found.program, "logits", Opcode.STORE_ROWS) == [1, 2, 1]
    assert np.array_equal(read_all(found, "logits"), last_rows(found, 4))


@pytest.mark.parametrize("change", [(), (ROW_WISE,), (FP16,)])
def test_a_score_is_the_logits_of_its_classes(change: tuple[str, ...]) -> None:
    found = outcome(trace_of([StepPhase.SCORE], [11]), *change)
    assert np.array_equal(found.read("logits", 1, 2), found.heads(found.states[-1:], class_head(found.parameters)))


@pytest.mark.parametrize("change", [(), (ROW_WISE,), (FP16,)])
@pytest.mark.parametrize("count", [1, 3])
def test_a_decision_comes_before_the_logits_of_its_step(change: tuple[str, ...], count: int) -> None:
    events = (Event(EventKind.DECISION_OP, 1, outcome=1),)
    found = outcome(trace_of([StepPhase.PREFILL, StepPhase.WRITE], [7, count], events), *change)
    decided = found.heads(found.states[-1:], decision_head(found.parameters))
    assert np.array_equal(found.read("decision", 1, 2), decided)
    assert np.array_equal(found.read("logits", 1, VOCABULARY), last_rows(found, 1))


def test_a_decision_to_wait_leaves_the_logits_of_the_step_before() -> None:
    events = (Event(EventKind.DECISION_OP, 1, outcome=0),)
    found = outcome(trace_of([StepPhase.PREFILL, StepPhase.WRITE], [7, 1], events))
    assert np.array_equal(found.read("decision", 1, 2), found.heads(found.states[-1:], decision_head(found.parameters)))
    before = found.heads(found.states[6:7], found.parameters.lm_head)
    assert np.array_equal(found.read("logits", 1, VOCABULARY), before)


@pytest.mark.parametrize("change", [(), (ROW_WISE,), (SMALL,)])
def test_visual_tokens_are_compared_with_every_word(change: tuple[str, ...]) -> None:
    visual = 15  # more than are multiplied together, and one behind
    search = Event(EventKind.SCORE_OP, 0, layer=0, op=ScoreOp.VOCABULARY_COSINE, rows=visual, keys=VOCABULARY, k=1)
    segments = (Segment("visual", 0, visual), Segment("text", visual, 3))
    found = outcome(trace_of([StepPhase.PREFILL], [visual + 3], (search,), segments=segments), *change)
    rows = found.parameters.embedding[visual_ids(found.program.context.trace)]
    wanted = Products(found.overlay, found.parameters.epsilon).linear(rows, word_head(found.parameters))
    assert np.array_equal(read_all(found, "similarities"), wanted)
    assert np.array_equal(found.read("logits", 1, VOCABULARY), last_rows(found, 1))
