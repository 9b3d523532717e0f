"""EmbedLens as a pruner: each visual token is classed by its nearest word, and dead ones never enter the decoder.

The vision tower, projector and K/V of absent tokens cost nothing here; the search over the vocabulary does.
"""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import number, word
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Header, Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.visual import Layout, image_header, image_trace, pruned, scored
from skipopu.trace.vocabulary import ScoreOp

CLASSES = ("text", "alive", "vit_sink", "llm_sink", "dead")
ALIVE, VIT_SINK, LLM_SINK, DEAD = 1, 2, 3, 4
REMOVED = {"dead": (DEAD,), "dead_and_sink": (VIT_SINK, LLM_SINK, DEAD)}
Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Knobs:
    """Tokens of the prompt, shares of the classes among visual tokens, and which classes are removed."""

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)
    sink_share: float = number("share", 0, 1)
    dead_share: float = number("share", 0, 1)
    remove: str = word(*REMOVED)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace of ``prompt`` text tokens after the image and ``decode`` generated ones.

    ``seed`` draws the class of every visual token. Raises SpecError where the shares exceed 1.
    """
    if knobs.sink_share + knobs.dead_share > 1:
        raise SpecError(
            f"knobs sink_share + dead_share = {knobs.sink_share + knobs.dead_share:g}; must be in 0..1; lower one"
        )
    layout = Layout(knobs.system, knobs.visual, prompt, decode)
    provenance = Provenance("synthetic", seed, asdict(knobs), "classes drawn with the reported shares")
    header = image_header("embedlens", shape, layout, provenance)
    sink = knobs.sink_share / 2
    shares = [1 - knobs.sink_share - knobs.dead_share, sink, knobs.sink_share - sink, knobs.dead_share]
    drawn = np.random.Generator(np.random.PCG64(seed)).choice(range(ALIVE, DEAD + 1), layout.visual, p=shares)
    return classed_trace(header, layout, drawn, knobs.remove)


def classed_trace(header: Header, layout: Layout, classes: Classes, remove: str) -> Trace:
    """Return the trace in which visual tokens of ``classes`` [visual] run unless ``remove`` says otherwise."""
    kept, layers = kept_tokens(layout, classes, remove), header.shape.dimensions.layers
    of_token = np.zeros(layout.tokens, np.int64)
    of_token[layout.image] = classes
    rows = layout.image_rows(layers, [kept] * layers)
    return image_trace(
        replace(header, token_classes=CLASSES, position_policy="explicit"),
        layout,
        rows,
        events=search(layout, header.shape.dimensions.vocabulary, kept),
        token_class=of_token,
        positions=closed_up(rows[0]),
    )


def kept_tokens(layout: Layout, classes: Classes, remove: str) -> NDArray[np.int64]:
    """Return the numbers of the visual tokens that enter the decoder."""
    return layout.image_tokens()[~np.isin(classes, REMOVED[remove])]


def search(layout: Layout, vocabulary: int, kept: NDArray[np.int64]) -> list[Event]:
    """Return the search for the nearest of ``vocabulary`` words a visual token, and the pruning after it."""
    return [scored(0, ScoreOp.VOCABULARY_COSINE, layout.visual, vocabulary, 1), pruned(0, layout.visual, kept)]


def closed_up(present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return positions [tokens] without gaps for absent tokens, whose own are those of the next present one."""
    return np.cumsum(present) - present
