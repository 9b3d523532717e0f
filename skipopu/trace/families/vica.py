"""ViCA: visual tokens are frozen embeddings that a few layers read as keys and values, and nothing else."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from skipopu.spec.leaf import number
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.header import Provenance
from skipopu.trace.schema import Trace
from skipopu.trace.visual import Layout, image_header, image_trace, rising_layers
from skipopu.trace.vocabulary import KvSource, MaskClass


@dataclass(frozen=True)
class Knobs:
    """Tokens of the prompt, and the layers that see the image.

    ``cross_layers``: where visual K/V are projected. ``system_query_layers``: in the first so many layers system tokens
    issue queries.
    """

    system: int = number("token", 0, 2**16)
    visual: int = number("token", 1, 2**16)
    cross_layers: tuple[int, ...] = number("layer", 0, 1023)
    system_query_layers: int = number("layer", 0, 1024)


def make(shape: ModelShape, prompt: int, decode: int, seed: int, knobs: Knobs) -> Trace:
    """Return the trace of ``prompt`` text tokens after the image and ``decode`` generated ones; nothing is drawn.

    Raises SpecError for a layer beyond the shape's.
    """
    layers, layout = shape.dimensions.layers, Layout(knobs.system, knobs.visual, prompt, decode)
    rising_layers("cross_layers", knobs.cross_layers, layers - 1)
    cross = list(knobs.cross_layers)
    ffn = layout.image_rows(layers, [])
    q, kv = ffn.copy(), ffn.copy()
    q[knobs.system_query_layers :, : layout.system] = False
    kv[cross, layout.image] = True
    source, mask = np.zeros(layers, int), np.full(layers, int(MaskClass.CAUSAL))
    source[cross], mask[cross] = KvSource.EMBEDDING, MaskClass.TEXT_TO_VISUAL
    provenance = Provenance("synthetic", seed, asdict(knobs), "the published list of layers")
    header = replace(image_header("vica", shape, layout, provenance), position_policy="explicit")
    positions = np.arange(layout.tokens)  # where the image is absent its positions stay empty
    return image_trace(header, layout, q, kv, ffn, kv_source=source, mask_class=mask, positions=positions)
