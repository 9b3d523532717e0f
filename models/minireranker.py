"""miniReranker: an image is encoded once; every text is scored against its K/V, through part of the layers.

Text sees the image in a band of layers alone, and layers from the exit on do not run. The score is the difference of
two words' logits, yes and no, at the last token.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skipopu.models.export import shape_of
from skipopu.models.row_masks import Masks
from skipopu.models.row_method import Method, Rows
from skipopu.models.row_reference import masked
from skipopu.models.row_sets import RowSets
from skipopu.models.visual_language import VisualLanguage
from skipopu.trace import Provenance, Segment, StepPhase, Trace
from skipopu.trace.families.minireranker import Knobs, check, masks, scores


class Reranker(Method):
    """``text``: tokens after the prefix, 0 while the prefix itself is encoded. SpecError for unsound layers."""

    def __init__(self, knobs: Knobs, layers: int, text: int = 0) -> None:
        check(knobs, layers)
        segments = (Segment("visual", 0, knobs.prefix), *([Segment("document", knobs.prefix, text)] if text else []))
        super().__init__(Masks.of(segments, knobs.prefix + text, tuple(masks(knobs, layers).tolist())))
        self.knobs = knobs

    def rows(self, layer: int, tokens: Tensor) -> Rows:
        """Return everything below the exit."""
        runs = torch.full((len(tokens),), layer < self.knobs.exit_layer)
        return Rows(runs, runs, runs)


class Words(NamedTuple):
    """Vocabulary entries that answer."""

    yes: int
    no: int


def prefix(model: VisualLanguage, system: Sequence[int], patches: Tensor, weights: Tensor, knobs: Knobs) -> Tensor:
    """Return the prefix's embeddings [prefix, hidden]: of the image the patches to which an embedder gave most weight.

    ``weights`` [visual] are the embedder's; the kept tokens stay in order.
    """
    kept = weights.topk(knobs.kept).indices.sort().values
    words = model.llama.model.embed_tokens(torch.tensor(list(system), dtype=torch.long))
    return torch.cat((words, model.visual(patches)[kept]))


def encode(model: VisualLanguage, x: Tensor, knobs: Knobs) -> RowSets:
    """Encode a prefix ``x`` [prefix, hidden]; the result serves any number of texts."""
    run = RowSets(model.stack, Reranker(knobs, model.llama.config.layers))
    run.extend(x)
    return run


@torch.inference_mode()
def score(
    model: VisualLanguage, image: RowSets, text: Sequence[int], words: Words, method: Method
) -> tuple[float, RowSets]:
    """Return the relevance of ``text`` to an encoded image, and the run of the text alone."""
    run = image.fork(method)
    x = run.extend(model.llama.model.embed_tokens(torch.tensor(list(text))), StepPhase.SCORE)
    return answer(model, x[-1], words), run


@torch.inference_mode()
def reference(model: VisualLanguage, x: Tensor, text: Sequence[int], words: Words, knobs: Knobs) -> float:
    """Return the same from prefix ``x`` and text computed as one sequence, whole, then masked."""
    whole = torch.cat((x, model.llama.model.embed_tokens(torch.tensor(list(text)))))
    method = Reranker(knobs, model.llama.config.layers, len(text))
    return answer(model, masked(model.stack, method, whole)[-1], words)


def answer(model: VisualLanguage, x: Tensor, words: Words) -> float:
    """Return the difference of two logits at a state ``x`` [hidden]: two rows of the output head, no more."""
    llama = model.llama
    head = llama.model.embed_tokens if llama.config.tied_embeddings else llama.lm_head
    return float((head.weight[words.yes] - head.weight[words.no]) @ llama.model.norm(x))


def export_minireranker(
    model: VisualLanguage, image: RowSets, texts: Sequence[Sequence[int]], words: Words, knobs: Knobs, source: str
) -> Trace:
    """Score ``texts`` of one length against an encoded image, and return the trace of what ran."""
    layers = model.llama.config.layers
    runs = [score(model, image, text, words, Reranker(knobs, layers, len(text)))[1] for text in texts]
    rows = np.concatenate([run.recorder.rows("q") for run in runs], axis=1)
    shape = shape_of(model.llama.config, "tiny", source)
    provenance = Provenance("synthetic", knobs=asdict(knobs), source=source)
    return scores(shape, provenance, knobs, rows, len(texts))
