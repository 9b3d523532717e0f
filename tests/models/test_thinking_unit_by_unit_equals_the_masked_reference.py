"""StreamingThinker and TaYS with two caches give what one masked pass over everything gives."""

import pytest
import torch
from streaming_model import close, decoder, same_schedule

from skipopu.models.export import shape_of
from skipopu.models.streaming import replay
from skipopu.models.streaming_thinker import StreamingThinker, export_streaming_thinker, sentences
from skipopu.models.streaming_units import UnitByUnit, Written
from skipopu.models.tays import Tays, export_tays, frame_groups
from skipopu.trace import Provenance, StepPhase, Trace
from skipopu.trace.stream_units import Unit, schedule

MODEL = decoder()
ENDS = frozenset(range(0, 64, 5))
SENTENCES = sentences([(7, 8, 9, 10), (11, 12), (13, 14, 15), (16,)], 2.0)
FRAMES = frame_groups([(i, i + 1, i + 2) for i in range(0, 30, 5)], 2, 4.0)


def thinker(connector: tuple[int, ...] = (40, 41, 42), conclusion: int = 7) -> tuple[UnitByUnit, Written, Trace]:
    model = StreamingThinker(MODEL, (1, 2, 3), 4, ENDS, conclusion, connector, most=6)
    done = model.run(SENTENCES)
    return model, done, export_streaming_thinker(model, done, "tiny", "random weights of a test")


def tays() -> tuple[UnitByUnit, Written, Trace]:
    model = Tays(MODEL, (1, 2), (3, 5, 6), 4, ENDS, most=5)
    done = model.run(FRAMES)
    return model, done, export_tays(model, done, "tiny", "random weights of a test")


CASES = {
    "D1": (lambda: thinker(()), SENTENCES),
    "D2": (thinker, SENTENCES),
    "thoughts only": (lambda: thinker((), 0), SENTENCES),
    "tays": (tays, FRAMES),
}


@pytest.mark.parametrize("case", CASES)
def test_the_logits_of_every_written_token_are_those_of_the_reference(case: str) -> None:
    build, units = CASES[case]
    model, done, _ = build()
    assert all(done.thoughts), "every unit is thought about"
    close(torch.stack(done.logits), model.forward(units, done.thoughts, done.conclusion))


def test_a_thought_does_not_see_the_sentences_to_come() -> None:
    changed = [*SENTENCES[:3], sentences([(60, 61)], 1.0)[0]]
    model, done, _ = thinker()
    other = model.run(changed)
    assert other.thoughts[:3] == done.thoughts[:3]
    count = sum(map(len, done.thoughts[:3]))
    assert torch.equal(torch.stack(other.logits[:count]), torch.stack(done.logits[:count]))
    assert not torch.equal(other.logits[count], done.logits[count])


@pytest.mark.parametrize("case", CASES)
def test_the_generator_plans_what_the_decoder_did(case: str) -> None:
    build, units = CASES[case]
    model, done, trace = build()
    plan = schedule(
        [(kind, len(ids)) for kind, ids in model.before],
        [Unit(unit.type, len(unit.ids), unit.arrival) for unit in units],
        [len(thought) for thought in done.thoughts],
        len(model.manner.connector),
        len(done.conclusion),
    )
    shape, cache = shape_of(MODEL.config, "tiny", "a test"), trace.header.caches[0].type
    same_schedule(plan.trace(trace.header.family, shape, Provenance("synthetic", source="a test"), cache), trace)


@pytest.mark.parametrize("case", CASES)
def test_a_trace_replays_to_the_same_rows_and_logits(case: str) -> None:
    _, done, trace = CASES[case][0]()
    ids = trace.array("token_ids")
    assert ids is not None
    logits, recorder = replay(MODEL, trace, ids.tolist())
    for kind in ("q", "kv", "ffn"):
        assert (recorder.rows(kind) == trace.rows(kind)).all()
    last = trace.steps.first_token + trace.steps.token_count - 1
    close(logits[last[trace.steps.phase == StepPhase.WRITE].tolist()], torch.stack(done.logits))


def test_reading_waits_for_reading_only() -> None:
    """The encode stream runs ahead: no read depends on a thought, even through other steps."""
    for trace in (thinker()[2], tays()[2]):
        waits = {step: set(trace.steps.dependencies(step).tolist()) for step in range(len(trace.steps))}
        reads = [step for step in waits if trace.steps.phase[step] == StepPhase.READ]
        assert [waits[step] for step in reads] == [set(), *({step} for step in reads[:-1])]
        thoughts = [s.first for s in trace.header.segments if s.type == "target"]
        firsts = trace.steps.of_token()[thoughts].tolist()
        for read, write in zip(reads, firsts, strict=False):
            assert read in waits[write]


def test_positions_of_source_and_target_count_by_themselves() -> None:
    _, _, trace = thinker()
    of_token = trace.steps.phase[trace.steps.of_token()]
    for phase in (StepPhase.READ, StepPhase.WRITE):
        mine = trace.arrays["positions"][of_token == phase]
        assert mine.tolist() == list(range(len(mine)))
