"""miniReranker: texts are scored against an image whose K/V are cached, interacting in a band of layers alone."""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Cache, Header, Provenance, Segment
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import EventKind, MaskClass, StepPhase

PREFIX = 1  # id of the cache that holds the image


@dataclass(frozen=True)
class Knobs:
    """Tokens of the cached prefix, and the layers that matter.

    ``keep_share``: of visual tokens, those that the embedder keeps. ``band_first``, ``band_last``: the layers in which
    text sees the image. ``exit_layer``: the first that does not run.
    """

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)
    keep_share: float = number("share", 0, 1)
    band_first: int = number("layer", 0, 1023)
    band_last: int = number("layer", 0, 1023)
    exit_layer: int = number("layer", 1, 1024)

    @property
    def kept(self) -> int:
        """Visual tokens in the prefix, at least one."""
        return max(1, round(self.visual * self.keep_share))

    @property
    def prefix(self) -> int:
        """Tokens of the prefix."""
        return self.system + self.kept


def check(knobs: Knobs, layers: int) -> None:
    """Raise SpecError unless band and exit lie in this order within the model."""
    if not knobs.band_first <= knobs.band_last < knobs.exit_layer <= layers:
        raise SpecError(
            f"knobs band_first, band_last, exit_layer = {knobs.band_first}, {knobs.band_last}, {knobs.exit_layer};"
            f" must rise and end at {layers} or below, the layers of the shape; set them for this shape"
        )


def masks(knobs: Knobs, layers: int) -> NDArray[np.int64]:
    """Return the mask class of every layer: causal in the band, within each segment outside."""
    classes = np.full(layers, int(MaskClass.BAND))
    classes[knobs.band_first : knobs.band_last + 1] = MaskClass.CAUSAL
    return classes


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return the trace of scoring texts of ``prompt`` tokens: one, and ``decode`` more against the same image.

    Nothing is drawn. Raises SpecError for layers that do not fit the shape.
    """
    check(knobs, shape.dimensions.layers)
    rows = np.zeros((shape.dimensions.layers, prompt * (decode + 1)), bool)
    rows[: knobs.exit_layer] = True
    provenance = Provenance("synthetic", seed, asdict(knobs), "layers and shares of our own; every row below the exit")
    return scores(shape, provenance, knobs, rows, decode + 1)


def scores(shape: ModelShape, provenance: Provenance, knobs: Knobs, rows: NDArray[np.bool_], texts: int) -> Trace:
    """Return the trace of ``texts`` scores of the same length, given the rows that ran, [layers, tokens]."""
    layers, tokens = rows.shape
    each = tokens // texts
    header = Header(
        "minireranker", shape, Router(), "dense", provenance,
        segments=tuple(Segment("document", first, each) for first in range(0, tokens, each)),
        caches=(Cache(0), Cache(PREFIX, "prefix", knobs.prefix)),
        position_policy="explicit",
    )  # fmt: skip
    seen = masks(knobs, layers) == MaskClass.CAUSAL
    reads = np.asarray([[PREFIX, 0, knobs.prefix]] * (texts * int(seen.sum())))
    return make_trace(
        header,
        Steps.of([StepPhase.SCORE] * texts, [each] * texts, after=[[]] * texts),
        q=rows, kv=rows, ffn=rows,
        events=[event for step in range(texts) for event in _events(knobs, layers, step)],
        mask_class=masks(knobs, layers),
        positions=knobs.prefix + np.arange(tokens) % each,
        kv_read=reads,
        kv_read_offsets=np.concatenate(([0], np.cumsum(np.tile(seen, texts)))),
    )  # fmt: skip


def _events(knobs: Knobs, layers: int, step: int) -> list[Event]:
    found = [Event(EventKind.PREFIX_REUSE, step, cache=PREFIX, rows=knobs.prefix)]
    return found if knobs.exit_layer == layers else [*found, Event(EventKind.EARLY_EXIT, step, layer=knobs.exit_layer)]
