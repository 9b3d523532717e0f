"""Heads: matrices behind those of the layers. Every model has an LM head; some traces ask for more.

- ``class_head``: those rows of the LM head that a relevance score needs, yes and no (steps of phase score).
- ``decision_head``: on the last hidden state, act or wait (decision_op).
- ``word_head``: the embedding table, each word divided by its length by way of its scale, so that the largest product
  of a token is that of its nearest word (vocabulary_cosine). Where embeddings are tied the weights are the LM head's.

A trace without them has no such matrix: nothing else moves.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Event, EventKind, ScoreOp, StepPhase, Trace
from skipopu.trace.gemms import DECISIONS, SCORE_CLASSES
from skipopu.trace.logit_rows import logit_rows

LM, CLASS, DECISION, WORD = "lm_head", "class_head", "decision_head", "word_head"


class Heads(NamedTuple):
    """What a trace asks of heads beside one row of logits a step."""

    logit_rows: int = 1  # most rows of a step that meet the LM head
    more: tuple[str, ...] = ()  # names of the heads beside it
    searched: int = 0  # rows that look for their nearest word, of all steps


class Asked(NamedTuple):
    """The last rows of a step, and the heads that they meet one after the other."""

    rows: int
    heads: tuple[str, ...]


def heads_of(trace: Trace) -> Heads:
    """Return what ``trace`` asks of heads."""
    rows, searched = logit_rows(trace), sum(event.rows for event in searches(trace))
    scored = rows[trace.steps.phase == StepPhase.SCORE].any()
    wanted = {CLASS: scored, DECISION: decisions(trace).any(), WORD: searched}
    return Heads(max(1, int(rows.max())), tuple(name for name, there in wanted.items() if there), searched)


def columns_of(head: str, shape: ModelShape) -> int:
    """Results of a head for a row."""
    return {CLASS: SCORE_CLASSES, DECISION: DECISIONS}.get(head, shape.dimensions.vocabulary)


def shared(head: str, shape: ModelShape) -> bool:
    """Whether a head has the LM head's weights, with scales of its own."""
    return head == WORD and shape.dimensions.tied_embeddings


def asked(trace: Trace, step: int, logits: int, decided: int) -> list[Asked]:
    """Return what the last rows of ``step`` meet: ``logits`` of them an output head, the last a decision head."""
    output = CLASS if trace.steps.phase[step] == StepPhase.SCORE else LM
    deciding = (DECISION,) * decided
    if logits == 1:
        return [Asked(1, (*deciding, output))]
    return [*([Asked(1, deciding)] if decided else []), *([Asked(logits, (output,))] if logits else [])]


def decisions(trace: Trace) -> NDArray[np.int64]:
    """Return how often each step's last state is asked whether to act, [steps]."""
    steps = [event.step for event in trace.events if event.kind is EventKind.DECISION_OP]
    return np.bincount(np.array(steps, np.int64), minlength=len(trace.steps)).astype(np.int64)


def searches(trace: Trace) -> list[Event]:
    """Return the searches for the nearest words of tokens."""
    return [e for e in trace.events if e.kind is EventKind.SCORE_OP and e.op is ScoreOp.VOCABULARY_COSINE]
