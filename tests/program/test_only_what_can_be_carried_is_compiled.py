"""The compiler takes one cache of prefill and decode steps, refuses the rest, and repeats itself exactly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_programs import board, compiled, program, shape, tiny, trace

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import decode
from skipopu.spec.error import SpecError
from skipopu.trace import (
    Cache,
    Event,
    EventKind,
    Header,
    LayerShape,
    Provenance,
    Router,
    ScoreOp,
    StepPhase,
    Steps,
    Trace,
    make_trace,
)

LAYERS, TOKENS = 3, 6


def plain(phases: list[int], counts: list[int], **changes: Any) -> Trace:
    """Every row runs; ``changes`` go to the header, to the steps, or are arrays."""
    steps = Steps.of(phases, counts, cache=changes.pop("cache", 0))
    rows = np.ones((LAYERS, sum(counts)), bool)
    arrays = {k: v for k, v in changes.items() if k == "events" or isinstance(v, np.ndarray)}
    source = Provenance("synthetic", 0, {}, "a test")
    top = {k: v for k, v in changes.items() if k not in arrays}
    arrays |= {"experts": arrays.pop("expert_masks")} if "expert_masks" in arrays else {}
    header = Header(
        **(
            {
                "family": "test",
                "shape": shape(),
                "router": Router(),
                "kv_policy": "dense",
                "provenance": source,
            }
            | top
        )
    )
    return make_trace(header, steps, q=rows, kv=rows, ffn=rows, **arrays)


TEMPLATE: dict[str, Any] = {"token_class": np.zeros(TOKENS, np.uint8), "token_classes": ("template",)}


def template(rows: int) -> Event:
    return Event(EventKind.SCORE_OP, 0, layer=0, op=ScoreOp.TEMPLATE_ATTENTION, rows=rows, keys=TOKENS)


TAKEN: list[Callable[[], Trace]] = [
    lambda: plain([StepPhase.PREFILL, StepPhase.DECODE], [5, 1]),
    lambda: plain([StepPhase.ENCODE], [TOKENS]),
    lambda: plain([StepPhase.ENCODE], [TOKENS], events=[template(1)], **TEMPLATE),
    lambda: plain([StepPhase.PREFILL], [TOKENS], events=[Event(EventKind.FUSE, 0, rows=6, k=3, outcome=1)]),
    lambda: plain([StepPhase.PREFILL, StepPhase.DECODE], [4, 2]),
    lambda: plain([StepPhase.PREFILL, StepPhase.WRITE], [4, 2]),
    lambda: plain([StepPhase.PREFILL], [TOKENS], logit_rows=np.asarray([3])),
    lambda: plain([StepPhase.PREFILL], [TOKENS], events=[Event(EventKind.DECISION_OP, 0, outcome=1)]),
]


@pytest.mark.parametrize("of", TAKEN)
def test_what_the_compiler_carries_is_taken(of: Callable[[], Trace]) -> None:
    assert len(program(of())) > 50


NOT_TAKEN: list[tuple[Callable[[], Trace], str]] = [
    (
        lambda: plain([StepPhase.ENCODE], [TOKENS], router=Router("linear")),
        "trace step 0: phase encode beside routers; the compiler takes one of them",
    ),
    (
        lambda: plain([StepPhase.ENCODE], [TOKENS], events=[template(2)]),
        "trace: step 0: scores of a template need token_class 'template'; there is none",
    ),
    (
        lambda: plain([StepPhase.ENCODE], [TOKENS], events=[template(2)], **TEMPLATE),
        "trace: event score_op at step 0: template_attention of 2 rows in layer 0, phase encode; the compiler takes"
        " 1 row that runs there, in an encode step",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], events=[template(1)], **TEMPLATE),
        "trace: event score_op at step 0: template_attention of 1 rows in layer 0, phase prefill; the compiler takes"
        " 1 row that runs there, in an encode step",
    ),
    (
        lambda: plain(
            [StepPhase.PREFILL] * 2, [3, 3], cache=[0, 1], caches=(Cache(0), Cache(1)), kv_policy="reuse_last"
        ),
        "trace: kv_policy = reuse_last and several K/V caches; the compiler takes one of them",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], events=[search()]),
        "trace: event score_op at step 0: vocabulary_cosine of 6 rows and 50 words in layer 0; the compiler takes the 0"
        " visual tokens of a step that reads, all 100 words, layer 0",
    ),
    (
        lambda: plain(
            [StepPhase.PREFILL], [TOKENS], expert_masks=np.ones((LAYERS, TOKENS, 2), bool), experts=2
        ),
        "provenance.knobs.expert_rank = None; a whole number of at least 1 says how wide the parts of family test are;"
        " export the trace with it",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], layer_shapes=(LayerShape(1, hidden_size=32),)),
        "trace: layers have hidden_size = 32 and 64; the compiler takes one for all layers,"
        " which may differ in intermediate_size and ranks, and lack attention or FFN",
    ),
    (
        lambda: trace(family="wide50", router_hidden=8, ffn_group_size=16),
        "overlay tiny: bitmask.lists = 0; family wide needs 11 (2 of head_groups, 8 of ffn_groups, 1 of head pairs);"
        " --set bitmask.lists=11",
    ),
]


def search() -> Event:
    return Event(EventKind.SCORE_OP, 0, layer=0, op=ScoreOp.VOCABULARY_COSINE, rows=6, keys=50)


@pytest.mark.parametrize(("of", "text"), NOT_TAKEN)
def test_what_the_compiler_cannot_carry_is_refused(of: Callable[[], Trace], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        program(of())
    assert str(caught.value) == text


@pytest.mark.parametrize("name", ["linear", "bottleneck", "kv_dense"])
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    first = compiled(name)
    again = compile_trace(first.context.trace, first.context.overlay, board())
    assert again.words.tobytes() == first.words.tobytes()
    assert again.tags.tobytes() == first.tags.tobytes()


def test_other_routing_gives_the_same_instructions() -> None:
    """Rows are gated when the program runs, not when it is compiled; only K/V rounds could differ."""
    some, none = (program(trace(skip=skip, prompt=6, decode=2)) for skip in (0.5, 0.0))
    assert decode(some.words).shape == decode(none.words).shape
    assert some.words.tobytes() == none.words.tobytes()


def test_tags_follow_the_trace() -> None:
    p = compiled("linear")
    step, layer, first = p.tags.T
    steps = p.context.trace.steps
    assert np.all(np.diff(step) >= 0)
    assert set(step) == set(range(len(steps)))
    assert set(layer) == {-1, 0, 1, 2}
    assert np.all(first >= steps.first_token[step])
    assert np.all(first < steps.first_token[step] + steps.token_count[step])
    assert tiny().dataflow.row_block >= int(p.context.passes.rows.max())
