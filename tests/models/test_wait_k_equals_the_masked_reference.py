"""Wait-k with two caches, pops and re-fed tokens gives what one masked pass over source and target gives."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streaming_model import SEGMENTATION, close, decoder, same_schedule, source

from skipopu.models.export import shape_of
from skipopu.models.streaming import StreamingDecoder, replay
from skipopu.models.wait_k import Translation, WaitK, export_wait_k
from skipopu.spec.error import SpecError
from skipopu.trace import EventKind, Provenance, StepPhase, Trace
from skipopu.trace.families import wait_k

MODEL = decoder()


def translated(k: int, words: int, limit: int, target_position: int = 0) -> tuple[WaitK, Translation, Trace]:
    model = WaitK(MODEL, k, SEGMENTATION, limit, target_position)
    done = model.run(source(words))
    return model, done, export_wait_k(model, done, "tiny", "random weights of a test")


@pytest.mark.parametrize("target_position", [0, 40])
@pytest.mark.parametrize(("k", "words", "limit"), [(1, 6, 20), (3, 9, 30), (20, 5, 12), (2, 8, 3)])
def test_the_logits_of_every_kept_token_are_those_of_the_reference(
    k: int, words: int, limit: int, target_position: int
) -> None:
    model, done, _ = translated(k, words, limit, target_position)
    assert len(done.target) == limit
    expected = model.forward(source(words), done.words)
    close(torch.stack(done.logits), expected)
    assert expected.argmax(-1).tolist() == done.target


def test_what_the_target_sees_and_where_it_stands_matter() -> None:
    _, done, _ = translated(1, 6, 20)
    right = torch.stack(done.logits)
    for other in (WaitK(MODEL, 2, SEGMENTATION, 20), WaitK(MODEL, 1, SEGMENTATION, 20, target_position=9)):
        assert (other.forward(source(6), done.words) - right).abs().max() > 1e-3


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 8), st.integers(1, 24), st.integers(0, 50), st.integers(0, 9))
def test_the_generator_plans_what_the_decoder_did(k: int, words: int, limit: int, position: int, seed: int) -> None:
    model, read = WaitK(MODEL, k, SEGMENTATION, limit, position), source(words, seed)
    done = model.run(read)
    trace = export_wait_k(model, done, "tiny", "a test")
    lengths = wait_k.Words(
        tuple(map(len, read.words)), tuple(map(len, done.words)), tuple(done.closed)
    )
    knobs = wait_k.Knobs(k, position, len(read.instruct), 1.5, 0.0, read.words_per_second)
    shape, provenance = shape_of(MODEL.config, "tiny", "a test"), Provenance("synthetic", source="a test")
    same_schedule(wait_k.schedule(lengths, knobs).trace("wait_k", shape, provenance), trace)


def test_a_trace_replays_to_the_same_rows_and_logits() -> None:
    _, done, trace = translated(2, 8, 24)
    ids = trace.array("token_ids")
    assert ids is not None
    logits, recorder = replay(MODEL, trace, ids.tolist())
    for kind in ("q", "kv", "ffn"):
        assert (recorder.rows(kind) == trace.rows(kind)).all()
    kept = [i for i in range(trace.tokens) if trace.steps.phase[trace.steps.of_token()[i]] == StepPhase.WRITE]
    popped = {int(trace.steps.first_token[event.step]) - 1 for event in trace.events}
    close(logits[[i for i in kept if i not in popped]], torch.stack(done.logits))
    with pytest.raises(SpecError, match="3 token ids for a trace of"):
        replay(MODEL, trace, [1, 2, 3])


def test_every_pop_drops_one_entry_and_feeds_the_last_kept_token_again() -> None:
    _, done, trace = translated(2, 10, 30)
    ids, positions = trace.arrays["token_ids"], trace.arrays["positions"]
    assert len(trace.events) == done.closed[:8].count(False) > 2
    for event in trace.events:
        assert (event.kind, event.rows) == (EventKind.KV_POP, 1)
        dropped = int(trace.steps.first_token[event.step]) - 1
        assert trace.steps.phase[event.step] == StepPhase.READ
        again = int(trace.steps.first_token[event.step + 1])
        assert ids[again] == ids[dropped]
        assert positions[again] == positions[dropped]
    writes = int((trace.steps.phase == StepPhase.WRITE).sum())
    assert writes == len(done.target) + len(trace.events)


def test_the_end_token_ends_the_target_and_the_source_is_read_on() -> None:
    _, done, _ = translated(1, 12, 30)
    end = done.target[4]
    stopped = WaitK(MODEL, 1, replace(SEGMENTATION, end=end), 30).run(source(12))
    assert stopped.target == done.target[: done.target.index(end) + 1]
    assert [segment.type for segment in stopped.segments].count("source") == 12


def test_a_word_without_an_end_is_written_up_to_fifty_tokens() -> None:
    """Public code: a write ends after 50 tokens in any case."""
    endless = replace(SEGMENTATION, begins=frozenset(), closes=frozenset())
    done = WaitK(MODEL, 1, endless, 130).run(source(3))
    assert [len(word) for word in done.words] == [50, 50, 30]
    assert not done.decoder.recorder.events


def test_popping_leaves_the_outputs_of_kept_tokens_unchanged() -> None:
    """A token fed, popped and fed again behaves as if it had only been fed the second time."""
    runs = [StreamingDecoder(MODEL) for _ in range(2)]
    for run in runs:
        run.read([5, 6, 7], 0.0)
        run.write([2, 11])
    runs[0].write([23])
    runs[0].pop()
    for run in runs:
        run.read([8], 1.0)
    outputs = [torch.cat((run.write([23]), run.write([31]))) for run in runs]
    assert torch.equal(*outputs)


def test_the_source_sees_no_target() -> None:
    states = []
    for target in ([2, 3], [50, 51, 52]):
        run = StreamingDecoder(MODEL)
        run.read([5, 6, 7], 0.0)
        run.write(target)
        states.append(run.read([8, 9], 1.0))
    assert torch.equal(*states)


def test_reading_in_pieces_is_reading_at_once() -> None:
    whole, pieces = StreamingDecoder(MODEL), StreamingDecoder(MODEL)
    at_once = whole.read([5, 6, 7, 8, 9], 0.0)
    close(torch.cat([pieces.read(part, 0.0) for part in ([5], [6, 7, 8], [9])]), at_once)
    close(torch.cat([pieces.write([token]) for token in (2, 3, 4)]), whole.write([2, 3, 4]))
