"""EmbedLens as a pruner: the nearest word of a visual token tells its class; some classes never enter the decoder."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from skipopu.models.row_method import Method, Rows, View
from skipopu.models.visual_language import ImagePrompt, VisualLanguage, causal, exported
from skipopu.trace import Trace
from skipopu.trace.families.embedlens import ALIVE, CLASSES, DEAD, LLM_SINK, VIT_SINK, closed_up, kept_tokens, search
from skipopu.trace.visual import Layout


@dataclass(frozen=True)
class Words:
    """Vocabulary entries that mark a class, LLaVA-1.5's; ``remove`` is a key of `families.embedlens.REMOVED`."""

    vit_sink: int = 1141
    llm_sink: int = 26673
    dead: int = 30296
    remove: str = "dead"


class EmbedLens(Method):
    """``vocabulary``: the embedding table [V, hidden] that visual tokens are compared with, by cosine."""

    def __init__(self, words: Words, vocabulary: Tensor, layout: Layout, layers: int) -> None:
        super().__init__(causal(layout, layers))
        self.words, self.vocabulary, self.layout = words, vocabulary, layout
        self.classes = np.full(layout.visual, ALIVE)
        self.present = torch.ones(layout.tokens, dtype=torch.bool)

    def enter(self, layer: int, tokens: Tensor, view: View) -> None:
        """Before the first layer, class every visual token of the prompt."""
        if layer or self.layout.image.start not in tokens:
            return
        image = self.layout.image_tokens()
        self.classes = self.classify(view.stream(torch.from_numpy(image)))
        kept = kept_tokens(self.layout, self.classes, self.words.remove)
        self.present[self.layout.image] = torch.from_numpy(np.isin(image, kept))
        self.events += search(self.layout, len(self.vocabulary), kept)

    def classify(self, x: Tensor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Return the class of visual embeddings ``x`` [N, hidden] by their nearest word."""
        nearest = (normalize(x, dim=1) @ normalize(self.vocabulary, dim=1).T).argmax(1).numpy()
        classes = np.full(len(x), ALIVE)
        for word, kind in ((self.words.vit_sink, VIT_SINK), (self.words.llm_sink, LLM_SINK), (self.words.dead, DEAD)):
            classes[nearest == word] = kind
        return classes

    def rows(self, layer: int, tokens: Tensor) -> Rows:  # noqa: ARG002
        """Return all tokens but the removed."""
        return Rows(*[self.present[tokens]] * 3)

    def positions(self, tokens: Tensor) -> Tensor:
        """Return positions without gaps where tokens were removed."""
        return torch.from_numpy(closed_up(self.present.numpy()))[tokens]


def export_embedlens(model: VisualLanguage, prompt: ImagePrompt, decode: int, words: Words, source: str) -> Trace:
    """Prefill ``prompt``, decode greedily, and return the trace of what ran."""
    layout, config = prompt.layout(decode), model.llama.config
    method = EmbedLens(words, model.llama.model.embed_tokens.weight.detach(), layout, config.layers)
    run = model.generate(method, prompt, decode).run
    of_token = np.zeros(layout.tokens, np.int64)
    of_token[layout.image] = method.classes
    header = model.header("embedlens", layout, source)
    named = replace(header, token_classes=CLASSES)
    return exported(named, run, explicit=True, token_class=of_token)
