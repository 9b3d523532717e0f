"""LLaVA without pruning: system, visual and text tokens run through every layer. The counterpart of the others."""

from dataclasses import asdict, dataclass

import numpy as np

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.visual import Layout, image_header, image_trace


@dataclass(frozen=True)
class Knobs:
    """Tokens before and of the image."""

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return the trace of ``prompt`` text tokens after the image and ``decode`` generated ones; nothing is drawn."""
    layout = Layout(knobs.system, knobs.visual, prompt, decode)
    everything = np.ones((shape.dimensions.layers, layout.tokens), bool)
    provenance = Provenance("synthetic", seed, asdict(knobs), "every row of every token")
    return image_trace(image_header("llava", shape, layout, provenance), layout, everything)
