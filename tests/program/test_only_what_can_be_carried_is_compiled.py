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


def test_a_plain_trace_is_taken() -> None:
    assert len(program(plain([StepPhase.PREFILL, StepPhase.DECODE], [5, 1]))) > 50


NOT_TAKEN: list[tuple[Callable[[], Trace], str]] = [
    (
        lambda: plain([StepPhase.ENCODE], [TOKENS]),
        "trace step 0: phase encode; the compiler takes steps whose rows see older ones only",
    ),
    (
        lambda: plain([StepPhase.PREFILL, StepPhase.DECODE], [4, 2]),
        "trace step 1: decode of 2 tokens; expected 1, the batch size",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], logit_rows=np.asarray([3])),
        "trace: logits of 3 rows of a step; the compiler takes one or none",
    ),
    (
        lambda: plain(
            [StepPhase.PREFILL] * 2, [3, 3], cache=[0, 1], caches=(Cache(0), Cache(1)), kv_policy="reuse_last"
        ),
        "trace: kv_policy = reuse_last and several K/V caches; the compiler takes one of them",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], events=[Event(EventKind.DECISION_OP, 0, outcome=1)]),
        "trace: event decision_op; the compiler takes insert, prune, exit, early_exit, kv_pop, prefix_reuse, score_op",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], events=[search()]),
        "trace: event score_op at step 0: vocabulary_cosine of 6 rows; the compiler takes last_token_attention,"
        " influence of 1",
    ),
    (
        lambda: plain(
            [StepPhase.PREFILL], [TOKENS], expert_masks=np.ones((LAYERS, TOKENS, 2), bool), experts=2
        ),
        "trace: array 'experts' changes what is executed; the compiler takes row masks only",
    ),
    (
        lambda: plain([StepPhase.PREFILL], [TOKENS], layer_shapes=(LayerShape(1, intermediate_size=32),)),
        "trace: layer 1 has a shape of its own; the compiler takes layers without attention"
        " (attention_heads = kv_heads = 0) or FFN (intermediate_size = 0), and else one shape for all",
    ),
    (
        lambda: trace(family="wide50", router_hidden=8, ffn_group_size=16),
        "trace: array 'ffn_groups' changes what is executed; the compiler takes row masks only",
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
