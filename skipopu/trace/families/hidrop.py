"""HiDrop: the image enters late, is thinned in stages by the attention of the last prompt token, and leaves early."""

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.visual import Layout, exited, image_header, image_trace, pruned, rising_layers, scored
from skipopu.trace.vocabulary import EventKind, ScoreOp

Kept = NDArray[np.int64]


@dataclass(frozen=True)
class Knobs:
    """Tokens of the prompt, and which layer holds how many of the image.

    ``inject``: the first layer with the image; ``filters``: layers at whose entry it is pruned to ``keep`` tokens
    each; ``exit``: the first layer without it again.
    """

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)
    inject: int = number("layer", 0, 1023)
    filters: tuple[int, ...] = number("layer", 0, 1023)
    keep: tuple[int, ...] = number("token", 1, 2**16)
    exit: int = number("layer", 0, 1024)


def check(knobs: Knobs, layers: int) -> None:
    """Raise SpecError unless stages rise within the model and each keeps no more than the one before."""
    rising_layers("inject, filters, exit", (knobs.inject, *knobs.filters, knobs.exit), layers)
    counts = (knobs.visual, *knobs.keep)
    if len(knobs.keep) != len(knobs.filters) or list(counts) != sorted(counts, reverse=True):
        raise SpecError(
            f"knob keep = {list(knobs.keep)}; expected {len(knobs.filters)} falling counts, one a filter layer"
            f" {list(knobs.filters)}, at most {knobs.visual} visual tokens"
        )


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return a trace of ``prompt`` text tokens after the image and ``decode`` generated ones.

    How many tokens stay is published, which ones depends on the image: ``seed`` draws them. Raises SpecError for stages
    that do not fit the shape.
    """
    layers, layout = shape.dimensions.layers, Layout(knobs.system, knobs.visual, prompt, decode)
    check(knobs, layers)
    present, events = stages(knobs, layers, layout, np.random.Generator(np.random.PCG64(seed)))
    provenance = Provenance("synthetic", seed, asdict(knobs), "published counts; which tokens stay is drawn")
    header = replace(image_header("hidrop", shape, layout, provenance), position_policy="explicit")
    rows = layout.image_rows(layers, present)
    return image_trace(header, layout, rows, events=events, positions=np.arange(layout.tokens))


def stages(knobs: Knobs, layers: int, layout: Layout, random: np.random.Generator) -> tuple[list[Kept], list[Event]]:
    """Draw the visual tokens in every layer, and the events that bring and remove them."""
    image, keep = layout.image_tokens(), dict(zip(knobs.filters, knobs.keep, strict=True))
    here, present = image[:0], []
    events = []
    for layer in range(layers):
        if layer == knobs.inject:
            here = image
            events.append(Event(EventKind.INSERT, 0, layer=layer, kept=tuple(image.tolist())))
        elif layer in keep:
            chosen = np.sort(random.choice(here, keep[layer], replace=False))
            events += [scored(layer, ScoreOp.LAST_TOKEN_ATTENTION, 1, len(here), keep[layer])]
            events += [pruned(layer, len(here), chosen)]
            here = chosen
        elif layer == knobs.exit:
            events.append(exited(layer, here))
            here = image[:0]
        present.append(here)
    return present, events
