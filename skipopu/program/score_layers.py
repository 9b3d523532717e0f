"""Score operations: tokens that the last token of a prompt weighs, so that the host can choose which of them stay.

What is weighed are vectors of the tokens in one layer: keys, by the last token's query (HiDrop), or values, by its
attention output (VisiPruner). They are written to a layer of the K/V cache of their own, behind those of the model, and
read as keys are. The scores go to DDR4; choosing by them is the host's, and its time is not in the simulation.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import Passes
from skipopu.program.row_blocks import active_rows, prefix
from skipopu.spec.error import SpecError
from skipopu.trace import Event, EventKind, ScoreOp, StepPhase, Trace
from skipopu.trace.template import centre_token

VECTORS = {ScoreOp.LAST_TOKEN_ATTENTION: "k", ScoreOp.INFLUENCE: "v"}
BY_A_HEAD = (ScoreOp.VOCABULARY_COSINE,)  # see `skipopu.program.heads`
WEIGHED = ("visual", "frame")


class ScoreLayer(NamedTuple):
    """A score operation of a step and its layer of the cache."""

    number: int  # of the layer in the cache
    step: int
    layer: int  # of the model, whose norm and weights it uses
    there: int  # layer of the model whose blocks hold the tokens that are weighed
    vectors: str  # "k" or "v"
    tokens: tuple[int, ...]
    last: int  # token that weighs


def score_layers(trace: Trace) -> tuple[ScoreLayer, ...]:
    """Return the score operations of a trace; SpecError for one that the machine has no way to compute."""
    without = (*BY_A_HEAD, ScoreOp.TEMPLATE_ATTENTION)  # the last is of the layer's own attention
    events = [event for event in trace.events if event.kind is EventKind.SCORE_OP and event.op not in without]
    return tuple(_score_layer(trace, event, trace.layers + i) for i, event in enumerate(events))


def _score_layer(trace: Trace, event: Event, number: int) -> ScoreLayer:
    if event.op not in VECTORS or event.rows != 1:
        known = ", ".join(op.name.lower() for op in VECTORS)
        raise SpecError(
            f"trace: {event}: {event.op.name.lower()} of {event.rows} rows; the compiler takes {known} of 1"
        )
    there = event.layer - (event.op is ScoreOp.LAST_TOKEN_ATTENTION)
    first, count = int(trace.steps.first_token[event.step]), int(trace.steps.token_count[event.step])
    active = active_rows(trace)[there]
    weighed = [t for t in _weighed(trace) if first <= t < first + count and active[t]]
    if len(weighed) != event.keys:
        raise SpecError(f"trace: {event}: keys = {event.keys}; layer {there} has {len(weighed)} visual tokens")
    return ScoreLayer(number, event.step, event.layer, there, VECTORS[event.op], tuple(weighed), first + count - 1)


def template_scores(trace: Trace) -> dict[tuple[int, int], int]:
    """Return (step, layer) → the token whose scores of this layer's own attention are asked for."""
    found = {}
    for event in trace.events:
        if event.op is ScoreOp.TEMPLATE_ATTENTION:
            token, phase = centre_token(trace, event.step), StepPhase(trace.steps.phase[event.step])
            if event.rows != 1 or phase != StepPhase.ENCODE or not trace.rows("q")[event.layer, token]:
                raise SpecError(
                    f"trace: {event}: template_attention of {event.rows} rows in layer {event.layer}, phase"
                    f" {phase.name.lower()}; the compiler takes 1 row that runs there, in an encode step"
                )
            found[event.step, event.layer] = token
    return found


def _weighed(trace: Trace) -> list[int]:
    segments = [s for s in trace.header.segments if s.type in WEIGHED]
    return [token for s in segments for token in range(s.first, s.first + s.count)]


def with_scores(passes: Passes, scores: tuple[ScoreLayer, ...]) -> Passes:
    """Add the score layers to what the blocks go through: those that are weighed, in order, and the one that weighs.

    The weighing block sees all that is weighed and adds nothing.
    """
    for score in scores:
        blocks, last = weighed_blocks(passes, score), weighing_block(passes, score)
        present, rank = np.zeros(len(passes.rows), np.bool_), np.zeros(len(passes.rows), np.int64)
        present[[*blocks, last]] = True
        rank[blocks] = np.cumsum(passes.rows[blocks]) - passes.rows[blocks]
        rank[last] = len(score.tokens) - passes.rows[last]
        passes = passes._replace(
            present=np.column_stack([passes.present, present]), rank=np.column_stack([passes.rank, rank]),
            shown=np.column_stack([passes.shown, np.zeros_like(rank)]),
            ahead=np.column_stack([passes.ahead, np.zeros_like(rank)]),
        )  # fmt: skip
    return passes


def weighed_blocks(passes: Passes, score: ScoreLayer) -> list[int]:
    """Row blocks of the tokens that are weighed."""
    found = []
    for block in np.flatnonzero((passes.step == score.step) & passes.present[:, score.there]).tolist():
        own = passes.tokens[passes.first[block] : passes.first[block] + passes.rows[block]].tolist()
        inside = [token in score.tokens for token in own]
        if any(inside) and not all(inside):
            raise SpecError(f"trace: layer {score.layer} weighs some rows of a block; segments must part them")
        found += [block] if inside[0] else []
    return found


def weighing_block(passes: Passes, score: ScoreLayer) -> int:
    """The row block of the last token."""
    slots = np.flatnonzero(passes.tokens == score.last)
    blocks = np.searchsorted(passes.first, slots, side="right") - 1
    return int(next(b for b in blocks.tolist() if passes.present[b, score.there]))


def cache_sources(trace: Trace, scores: tuple[ScoreLayer, ...]) -> NDArray[np.int16]:
    """Return the layer whose K/V each place of a layer's cache uses, [layers + scores, places], −1 without.

    First the entries from before the trace, then the layer's active tokens.
    """
    sources, older = trace.kv_source_layers(), prefix(trace)
    found = np.full((trace.layers + len(scores), older + trace.tokens), -1, np.int16)
    for layer, there in enumerate(active_rows(trace)):
        own = sources[layer, there]
        found[layer, :older] = layer
        found[layer, older : older + len(own)] = own
    for score in scores:
        found[score.number, : len(score.tokens)] = score.number
    return found
