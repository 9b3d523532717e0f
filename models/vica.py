"""ViCA: the image is read as keys and values in a few layers; its tokens issue no query and are never updated.

What a layer reads of the image are thus projections of the untouched embeddings, through the layer's own norm.
"""

import numpy as np
import torch
from torch import Tensor

from skipopu.models.row_method import Method, Rows
from skipopu.models.visual_language import ImagePrompt, VisualLanguage, exported, masks_of
from skipopu.trace import KvSource, MaskClass, Trace
from skipopu.trace.families.vica import Knobs
from skipopu.trace.visual import Layout


class Vica(Method):
    """``knobs`` say which layers see the image and where system tokens issue queries."""

    def __init__(self, knobs: Knobs, layout: Layout, layers: int) -> None:
        cross = [layer in knobs.cross_layers for layer in range(layers)]
        super().__init__(masks_of(layout, [MaskClass.TEXT_TO_VISUAL if c else MaskClass.CAUSAL for c in cross]))
        self.knobs, self.layout, self.cross = knobs, layout, cross

    def rows(self, layer: int, tokens: Tensor) -> Rows:
        """Return text everywhere; of the image K/V in cross layers; of system tokens queries in the first layers."""
        text = ~self.masks.visual[tokens]
        asks = text & ((tokens >= self.layout.system) | (layer < self.knobs.system_query_layers))
        return Rows(asks, text if not self.cross[layer] else torch.ones_like(text), text)


def export_vica(model: VisualLanguage, prompt: ImagePrompt, decode: int, knobs: Knobs, source: str) -> Trace:
    """Prefill ``prompt``, decode greedily, and return the trace of what ran."""
    layout, layers = prompt.layout(decode), model.llama.config.layers
    method = Vica(knobs, layout, layers)
    run = model.generate(method, prompt, decode).run
    sources = np.where(method.cross, KvSource.EMBEDDING, KvSource.HIDDEN)
    return exported(model.header("vica", layout, source), run, explicit=True, kv_source=sources)
