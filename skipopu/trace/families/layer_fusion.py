"""Fusion of several vision layers: before the decoder, or added to visual states at decoder layers.

Projecting the chosen states belongs to the vision tower; the trace has where they join, and every decoder row.
"""

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import flag, number, word
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.event import Event
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.visual import Layout, image_header, image_trace, rising_layers
from skipopu.trace.vocabulary import EventKind


@dataclass(frozen=True)
class Knobs:
    """Tokens of the prompt, and which states join where.

    ``vision_layers``: states after these layers of the tower, counted from 1. ``decoder_layers``: where each joins,
    in order, if ``placement`` is internal. ``modular``: through a module of its own instead of being added.
    """

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)
    vision_layers: tuple[int, ...] = number("layer", 1, 1024)
    decoder_layers: tuple[int, ...] = number("layer", 0, 1023)
    placement: str = word("external", "internal")
    modular: bool = flag()


class Joint(NamedTuple):
    """The state after a vision layer joins at the entry of a decoder layer, −1 before all."""

    vision_layer: int
    layer: int
    modular: bool


def joints(knobs: Knobs, layers: int) -> list[Joint]:
    """Return what joins where; SpecError where vision and decoder layers do not pair or the model has too few."""
    internal = knobs.placement == "internal"
    if len(knobs.decoder_layers) != len(knobs.vision_layers) * internal:
        raise SpecError(
            f"knob decoder_layers = {list(knobs.decoder_layers)}; expected"
            f" {len(knobs.vision_layers) if internal else 'none'} with placement = {knobs.placement},"
            f" vision_layers = {list(knobs.vision_layers)}"
        )
    if internal:
        rising_layers("decoder_layers", knobs.decoder_layers, layers - 1)
    at = knobs.decoder_layers if internal else (-1,) * len(knobs.vision_layers)
    return [Joint(vision, layer, knobs.modular) for vision, layer in zip(knobs.vision_layers, at, strict=True)]


def fused(joint: Joint, rows: int) -> Event:
    """Return the event that a state joins ``rows`` visual tokens."""
    return Event(
        EventKind.FUSE, 0, layer=joint.layer, rows=rows, k=joint.vision_layer, outcome=int(joint.modular)
    )  # fmt: skip


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return the trace of ``prompt`` text tokens after the image and ``decode`` generated ones; nothing is drawn.

    Raises SpecError where the layers do not fit.
    """
    layers, layout = shape.dimensions.layers, Layout(knobs.system, knobs.visual, prompt, decode)
    events = [fused(joint, layout.visual) for joint in joints(knobs, layers)]
    provenance = Provenance("synthetic", seed, asdict(knobs), "the list of layers; every row runs")
    header = image_header("layer_fusion", shape, layout, provenance)
    return image_trace(header, layout, np.ones((layers, layout.tokens), bool), events=events)
