"""A decision head: what it writes equals the masked reference, and a pass that waits leaves no mark but its cost."""

import pytest
import torch
from streaming_model import SEGMENTATION, close, decoder, same_schedule, source
from torch import nn

from skipopu.models.decision_head import ACT, DecisionHead, export_decision_head
from skipopu.models.export import shape_of
from skipopu.models.streaming import replay
from skipopu.models.streaming_reference import forward, group_positions, streaming_mask
from skipopu.models.wait_k import Source, Translation, WaitK
from skipopu.trace import EventKind, Provenance, StepPhase, Trace
from skipopu.trace.families import decision_head
from skipopu.trace.families.wait_k import Words

MODEL = decoder()


def head(seed: int, bias: float = 0.0) -> nn.Linear:
    """A random head; a large bias always acts, a large negative one never."""
    made = nn.Linear(MODEL.config.hidden_size, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        made.weight.normal_(generator=generator)
        made.bias.copy_(torch.tensor([0.0, bias]))
    return made


def translated(seed: int = 1, bias: float = 0.0, limit: int = 20) -> tuple[DecisionHead, Source, Translation, Trace]:
    model, read = DecisionHead(MODEL, head(seed, bias), SEGMENTATION, limit), source(10, seed)
    done = model.run(read)
    return model, read, done, export_decision_head(model, done, "tiny", "random weights of a test")


def outcomes(trace: Trace) -> list[int]:
    return [event.outcome for event in trace.events if event.kind is EventKind.DECISION_OP]


@pytest.mark.parametrize("seed", range(5))
def test_the_logits_of_every_kept_token_are_those_of_the_reference(seed: int) -> None:
    model, read, done, _ = translated(seed)
    close(torch.stack(done.logits), model.masked(read, done.words, model.reads))


def test_the_head_both_acts_and_waits() -> None:
    assert {outcome for seed in range(5) for outcome in outcomes(translated(seed)[3])} == {0, 1}


def test_the_scores_are_those_of_the_last_state_of_a_masked_pass() -> None:
    """Asked after source word i, the head scores what one pass over source and target so far ends in."""
    model, read, done, trace = translated()
    final = MODEL.model.norm
    ends = [len(read.instruct)]
    for word in read.words:
        ends.append(ends[-1] + len(word))
    everything = [*read.instruct, *(token for word in read.words for token in word)]
    written = 0
    for index, outcome in enumerate(outcomes(trace)):
        kept = [token for word in done.words[:written] for token in word]
        sees = [ends[model.reads[i]] for i in range(written) for _ in done.words[i]] + [ends[index + 1]]
        ids = torch.tensor([*everything, SEGMENTATION.start, *kept])
        states: list[torch.Tensor] = []
        hook = final.register_forward_pre_hook(lambda _, given, into=states: into.append(given[0]))
        forward(MODEL, ids, group_positions(len(everything), len(kept) + 1, 0), streaming_mask(len(everything), sees))
        hook.remove()
        close(model.scores[index], model.head(states[0][-1]).detach())
        written += outcome


def test_waiting_wastes_one_pass_each_time() -> None:
    waiting = translated(bias=-100.0)[3]
    assert outcomes(waiting) == [0] * 9  # nobody is asked once the source is read whole
    pops = [event for event in waiting.events if event.kind is EventKind.KV_POP]
    writes = int((waiting.steps.phase == StepPhase.WRITE).sum())
    assert (len(pops), writes) == (9, 20 + 9)


def test_a_head_that_always_acts_is_wait_1() -> None:
    _, read, done, trace = translated(bias=100.0)
    same = WaitK(MODEL, 1, SEGMENTATION, 20).run(read)
    assert outcomes(trace) == [ACT] * len(outcomes(trace))
    assert done.words == same.words
    assert torch.equal(torch.stack(done.logits), torch.stack(same.logits))


@pytest.mark.parametrize(("seed", "limit"), [(0, 20), (1, 20), (2, 3), (3, 40)])
def test_the_generator_plans_what_the_decoder_did(seed: int, limit: int) -> None:
    _, read, done, trace = translated(seed, limit=limit)
    words = Words(tuple(map(len, read.words)), tuple(map(len, done.words)), tuple(done.closed))
    knobs = decision_head.Knobs(0.5, len(read.instruct), 1.5, 0.0, read.words_per_second)
    acts = [bool(outcome) for outcome in outcomes(trace)] + [False] * len(read.words)
    plan = decision_head.schedule(words, acts, knobs)
    shape = shape_of(MODEL.config, "tiny", "a test")
    same_schedule(plan.trace("decision_head", shape, Provenance("synthetic", source="a test")), trace)


def test_a_trace_replays_to_the_same_rows_and_logits() -> None:
    _, _, done, trace = translated()
    ids = trace.array("token_ids")
    assert ids is not None
    logits, recorder = replay(MODEL, trace, ids.tolist())
    assert all((recorder.rows(kind) == trace.rows(kind)).all() for kind in ("q", "kv", "ffn"))
    popped = {int(trace.steps.first_token[e.step]) - 1 for e in trace.events if e.kind is EventKind.KV_POP}
    kept = [s for s in range(len(trace.steps)) if trace.steps.phase[s] == StepPhase.WRITE]
    tokens = [int(trace.steps.first_token[s]) for s in kept]
    close(logits[[t for t in tokens if t not in popped]], torch.stack(done.logits))
