"""VisiPruner: shallow layers do not mix image and text; a filter layer, found per image, keeps a handful of tokens."""

from dataclasses import asdict, dataclass, replace
from math import floor

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.visual import Layout, exited, image_header, image_trace, pruned, scored
from skipopu.trace.vocabulary import MaskClass, ScoreOp


@dataclass(frozen=True)
class Knobs:
    """Tokens of the prompt, and means of what the model decides image by image.

    ``shallow``: the first so many layers keep image and text apart. ``filter_layer``: the layer whose influence scores
    choose the tokens; ``kept``: tokens that stay from the next layer on; ``exit_layer``: the first without them.
    """

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)
    shallow: int = number("layer", 0, 1023)
    filter_layer: float = number("layer", 0, 1023)
    kept: float = number("token", 1, 2**16)
    exit_layer: float = number("layer", 1, 1024)


@dataclass(frozen=True)
class Decision:
    """What one image led to: layers as in `Knobs`, and the tokens that stay."""

    filter_layer: int
    exit_layer: int
    kept: NDArray[np.int64]


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace of ``prompt`` text tokens after the image and ``decode`` generated ones.

    ``seed`` draws filter layer, exit layer and kept tokens, whose expectations are the knobs. Raises SpecError where
    the layers do not fit the shape.
    """
    layers, layout = shape.dimensions.layers, Layout(knobs.system, knobs.visual, prompt, decode)
    _check(knobs, layers)
    decision = draw(knobs, layout, np.random.Generator(np.random.PCG64(seed)))
    provenance = Provenance("synthetic", seed, asdict(knobs), "drawn around the published means")
    header = replace(image_header("visipruner", shape, layout, provenance), position_policy="explicit")
    return image_trace(
        header,
        layout,
        layout.image_rows(layers, present(decision, layers, layout)),
        events=events(decision, knobs.shallow, layout),
        mask_class=masks(knobs.shallow, layers),
        positions=np.arange(layout.tokens),
    )


def draw(knobs: Knobs, layout: Layout, random: np.random.Generator) -> Decision:
    """Draw a decision: layers are one of the two whole numbers around their mean, the count is Poisson."""
    filter_layer = _around(knobs.filter_layer, random)
    exit_layer = max(_around(knobs.exit_layer, random), filter_layer + 2)
    count = int(np.clip(random.poisson(knobs.kept), 1, layout.visual))
    kept = np.sort(random.choice(layout.image_tokens(), count, replace=False))
    return Decision(filter_layer, exit_layer, kept)


def present(decision: Decision, layers: int, layout: Layout) -> list[NDArray[np.int64]]:
    """Return the visual tokens of every layer."""
    image = layout.image_tokens()
    few = range(decision.filter_layer + 1, decision.exit_layer)
    return [
        image if layer <= decision.filter_layer else decision.kept if layer in few else image[:0]
        for layer in range(layers)
    ]


def events(decision: Decision, shallow: int, layout: Layout) -> list[Event]:
    """Return the scores of every layer between ``shallow`` and exit, the pruning and the exit."""
    influence, kept = ScoreOp.INFLUENCE, decision.kept
    found = [scored(layer, influence, 1, layout.visual) for layer in range(shallow + 1, decision.filter_layer + 1)]
    found.append(pruned(decision.filter_layer + 1, layout.visual, kept))
    found += [scored(layer, influence, 1, len(kept)) for layer in range(decision.filter_layer + 1, decision.exit_layer)]
    return [*found, exited(decision.exit_layer, kept)]


def masks(shallow: int, layers: int) -> NDArray[np.int64]:
    """Return the mask class of every layer: a merged sink, then none between image and text, then causal."""
    classes = np.full(layers, int(MaskClass.CAUSAL))
    classes[:shallow], classes[: min(shallow, 1)] = MaskClass.NONE, MaskClass.MERGED_SINK
    return classes


def _around(mean: float, random: np.random.Generator) -> int:
    return floor(mean) + int(random.random() < mean - floor(mean))


def _check(knobs: Knobs, layers: int) -> None:
    if not knobs.shallow < knobs.filter_layer <= knobs.exit_layer - 2 <= layers - 3:
        raise SpecError(
            f"knobs shallow, filter_layer, exit_layer = {knobs.shallow}, {knobs.filter_layer:g}, {knobs.exit_layer:g};"
            f" must rise, the exit two layers after the filter and below {layers}, the layers of the shape"
        )
