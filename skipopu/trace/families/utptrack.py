"""UTPTrack: a one-stream tracker, an encoder alone, that prunes templates and search region together.

A frame is one encode step; nothing is kept between frames. At filter layers the attention of the static template's
centre token ranks all other tokens; the best, and the centre itself, go on.
"""

from dataclasses import asdict, dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.template import TEMPLATE, centre
from skipopu.trace.visual import rising_layers
from skipopu.trace.vocabulary import EventKind, ScoreOp, StepPhase

CLASSES = (TEMPLATE, "dynamic_template", "search")
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Knobs:
    """Tokens of the templates, and pruning: after the attention of ``filters`` ``keep_share`` of the tokens go on."""

    template: int = number("token", 1, 2**16)
    dynamic: int = number("token", 0, 2**16)
    filters: tuple[int, ...] = number("layer", 0, 1023)
    keep_share: float = number("share", 0, 1)

    @property
    def centre(self) -> int:
        """The centre token of the static template."""
        return centre(self.template)

    def kept(self, tokens: int) -> int:
        """Return how many of ``tokens`` go on, the centre among them."""
        return max(1, ceil(tokens * self.keep_share))


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return the trace of a frame with a search region of ``prompt`` tokens, and of ``decode`` more frames.

    ``seed`` draws which tokens go on. Raises SpecError for filters beyond the shape.
    """
    layers, frame = shape.dimensions.layers, knobs.template + knobs.dynamic + prompt
    rising_layers("filters", knobs.filters, layers - 1)
    random, rows, events = np.random.Generator(np.random.PCG64(seed)), [], []
    for step in range(decode + 1):
        here = np.arange(step * frame, (step + 1) * frame)
        stages = {}
        for layer in knobs.filters:
            others = here[here != step * frame + knobs.centre]
            drawn = random.choice(others, knobs.kept(len(here)) - 1, replace=False)
            stages[layer] = here = np.sort(np.append(drawn, step * frame + knobs.centre))
        rows.append(frame_rows(stages, layers, np.arange(step * frame, (step + 1) * frame)))
        events += frame_events(stages, layers, step, frame)
    provenance = Provenance("synthetic", seed, asdict(knobs), "counts from published shares; which tokens is drawn")
    return frames(shape, provenance, knobs, np.concatenate(rows, axis=1), events, decode + 1)


def frame_rows(stages: dict[int, Tokens], layers: int, tokens: Tokens) -> NDArray[np.bool_]:
    """Return rows [layers, frame] given the tokens that each filter layer lets through."""
    rows = np.ones((layers, len(tokens)), bool)
    for layer, kept in stages.items():
        rows[layer + 1 :] = np.isin(tokens, kept)
    return rows


def frame_events(stages: dict[int, Tokens], layers: int, step: int, tokens: int) -> list[Event]:
    """Return the score of every filter layer and the pruning before the next."""
    events = []
    for layer, kept in stages.items():
        op = ScoreOp.TEMPLATE_ATTENTION
        events.append(Event(EventKind.SCORE_OP, step, layer=layer, op=op, rows=1, keys=tokens, k=len(kept)))
        if layer + 1 < layers:
            events.append(Event(EventKind.PRUNE, step, layer=layer + 1, rows=tokens, kept=tuple(kept.tolist())))
        tokens = len(kept)
    return events


def frames(
    shape: ModelShape, provenance: Provenance, knobs: Knobs, rows: NDArray[np.bool_], events: list[Event], count: int
) -> Trace:
    """Return the trace of ``count`` frames given the rows that run, [layers, tokens]; no frame reads another's K/V."""
    layers, tokens = rows.shape
    place = np.arange(tokens) % (tokens // count)
    header = Header(
        "utptrack", shape, Router(), "dense", provenance,
        segments=(Segment("visual", 0, tokens),), token_classes=CLASSES, position_policy="explicit",
    )  # fmt: skip
    return make_trace(
        header,
        Steps.of([StepPhase.ENCODE] * count, [tokens // count] * count),
        q=rows, kv=rows, ffn=rows,
        events=events,
        positions=place,
        token_class=np.digitize(place, [knobs.template, knobs.template + knobs.dynamic]),
        kv_read=np.empty((0, 3), np.int32),
        kv_read_offsets=np.zeros(count * layers + 1, np.int64),
    )  # fmt: skip
