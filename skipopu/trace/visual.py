"""What prompts with an image have alike: system, visual and text tokens, prefilled together, then decoded one by one.

The trace of a vision-language model begins at the projector's output; the vision tower before it is not part of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.arrays import Array, Bools
from skipopu.trace.check import in_range
from skipopu.trace.event import Event
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import EventKind, ScoreOp, StepPhase


@dataclass(frozen=True)
class Layout:
    """Tokens of a prompt in order, and how many are generated after it. Raises SpecError for counts below these."""

    system: int
    visual: int
    text: int
    decode: int = 0

    def __post_init__(self) -> None:
        for name, least in (("system", 0), ("visual", 1), ("text", 1), ("decode", 0)):
            in_range(f"{name} tokens", getattr(self, name), least, 2**20)

    @property
    def prompt(self) -> int:
        """Tokens of the prefill."""
        return self.system + self.visual + self.text

    @property
    def tokens(self) -> int:
        """Tokens of all steps."""
        return self.prompt + self.decode

    @property
    def image(self) -> slice:
        """The visual tokens."""
        return slice(self.system, self.system + self.visual)

    def segments(self) -> tuple[Segment, ...]:
        """Return system (where there is one), visual, and text with what is generated."""
        system = (Segment("system", 0, self.system),) if self.system else ()
        visual, after = Segment("visual", self.system, self.visual), self.system + self.visual
        return (*system, visual, Segment("text", after, self.text + self.decode))

    def steps(self) -> Steps:
        """Return one prefill and a decode step a generated token."""
        phases = [StepPhase.PREFILL] + [StepPhase.DECODE] * self.decode
        return Steps.of(phases, [self.prompt] + [1] * self.decode)

    def image_rows(self, layers: int, present: Sequence[NDArray[np.int64]]) -> Bools:
        """Return rows [layers, tokens] where text always runs and of the image only tokens ``present`` [layers]."""
        rows = np.ones((layers, self.tokens), bool)
        rows[:, self.image] = False
        for layer, tokens in enumerate(present):
            rows[layer, tokens] = True
        return rows

    def image_tokens(self) -> NDArray[np.int64]:
        """Return the numbers of the visual tokens."""
        return np.arange(self.image.start, self.image.stop)


def visual_segments(trace: Trace) -> Bools:
    """Return which tokens of a trace are visual, [tokens]."""
    found = np.zeros(trace.tokens, bool)
    for segment in trace.header.segments:
        if segment.type in ("visual", "frame"):
            found[segment.first : segment.first + segment.count] = True
    return found


def image_header(family: str, shape: ModelShape, layout: Layout, provenance: Provenance) -> Header:
    """Return the header of a model without routers whose token numbers are its positions."""
    return Header(family, shape, Router(), "dense", provenance, segments=layout.segments())


def image_trace(
    header: Header,
    layout: Layout,
    q: Bools,
    kv: Bools | None = None,
    ffn: Bools | None = None,
    events: Iterable[Event] = (),
    **arrays: Array,
) -> Trace:
    """Make a trace from the rows that run, [layers, tokens]; K/V and FFN rows are those of Q unless given."""
    kv, ffn = q if kv is None else kv, q if ffn is None else ffn
    return make_trace(header, layout.steps(), q=q, kv=kv, ffn=ffn, events=list(events), **arrays)


def pruned(layer: int, before: int, kept: NDArray[np.int64]) -> Event:
    """Return the event that of ``before`` visual tokens only ``kept`` enter ``layer``."""
    return Event(EventKind.PRUNE, 0, layer=layer, rows=before, kept=tuple(kept.tolist()))


def scored(layer: int, op: ScoreOp, rows: int, keys: int, k: int = 0) -> Event:
    """Return the event that ``rows`` queries weigh ``keys`` tokens in ``layer``, and the best ``k`` stay."""
    return Event(EventKind.SCORE_OP, 0, layer=layer, op=op, rows=rows, keys=keys, k=k)


def exited(layer: int, left: NDArray[np.int64]) -> Event:
    """Return the event that the visual tokens ``left`` do not enter ``layer``."""
    return Event(EventKind.EXIT, 0, layer=layer, rows=len(left), kept=tuple(left.tolist()))


def rising_layers(names: str, layers: Sequence[int], count: int) -> None:
    """Raise SpecError unless ``layers`` rise strictly to at most ``count``, the layers of the model."""
    if any(a >= b for a, b in pairwise(layers)) or not layers or layers[-1] > count:
        raise SpecError(
            f"knobs {names} = {list(layers)}; must rise and end at {count} or below, the layers of the shape;"
            " set them for this shape"
        )
