"""A small vision-language model: vision tower, projector, decoder; run with any method and exported as a trace."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skipopu.models.config import LlamaConfig
from skipopu.models.export import shape_of
from skipopu.models.llama import Llama
from skipopu.models.row_masks import Masks
from skipopu.models.row_method import Method, RowStack
from skipopu.models.row_reference import masked
from skipopu.models.row_sets import RowSets
from skipopu.models.vision_tower import Mlp, VisionTower
from skipopu.trace import Header, MaskClass, Provenance, StepPhase, Trace
from skipopu.trace.visual import Layout, image_header


@dataclass(frozen=True)
class ImagePrompt:
    """System token ids, image patches [visual, patch], text token ids."""

    system: Sequence[int]
    patches: Tensor
    text: Sequence[int]

    def layout(self, decode: int = 0) -> Layout:
        """Return the counts."""
        return Layout(len(self.system), len(self.patches), len(self.text), decode)


@dataclass(frozen=True)
class Answer:
    """Logits [1 + decode, vocabulary] of the last prompt row and every generated token, the ids, and the run."""

    logits: Tensor
    ids: tuple[int, ...]
    run: RowSets


class VisualLanguage(nn.Module):
    """LLaVA's structure: features of the last but one vision layer, a two-layer projector, a Llama."""

    def __init__(self, llama: LlamaConfig, vision: LlamaConfig, patch: int) -> None:
        super().__init__()
        self.llama = Llama(llama)
        self.tower = VisionTower(vision, patch)
        self.projector = Mlp(llama.hidden_size, vision.hidden_size, llama.hidden_size)

    @torch.no_grad()
    def initialize(self, seed: int, deviation: float) -> None:
        """Draw matrices from a normal distribution of ``deviation``, biases from a tenth of it, by ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in sorted(self.named_parameters()):
            if parameter.dim() == 2:
                parameter.normal_(0.0, deviation, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0.0, deviation / 10, generator=generator)

    @property
    def stack(self) -> RowStack:
        """The decoder's layers."""
        return RowStack(self.llama.model.layers, self.llama.config)

    def visual(self, patches: Tensor) -> Tensor:
        """Return the projector's output [visual, hidden]."""
        out: Tensor = self.projector(self.tower(patches)[-2])
        return out

    def embed(self, prompt: ImagePrompt) -> Tensor:
        """Return the decoder's input [prompt, hidden]."""
        words = self.llama.model.embed_tokens
        system, text = (words(torch.tensor(list(ids), dtype=torch.long)) for ids in (prompt.system, prompt.text))
        return torch.cat((system, self.visual(prompt.patches), text))

    @torch.inference_mode()
    def generate(self, method: Method, prompt: ImagePrompt, decode: int) -> Answer:
        """Prefill and decode greedily, computing the rows of ``method`` alone."""
        run = RowSets(self.stack, method)
        logits = [self.llama.logits(run.extend(self.embed(prompt))[-1])]
        ids: list[int] = []
        for _ in range(decode):
            ids.append(int(logits[-1].argmax()))
            x = self.llama.model.embed_tokens(torch.tensor(ids[-1:]))
            logits.append(self.llama.logits(run.extend(x, StepPhase.DECODE)[-1]))
        return Answer(torch.stack(logits), tuple(ids), run)

    @torch.inference_mode()
    def forward(self, method: Method, prompt: ImagePrompt, ids: Sequence[int] = ()) -> Tensor:
        """Return logits [1 + ids, vocabulary] of the last prompt row and ``ids``: all rows computed, then masked."""
        after = self.llama.model.embed_tokens(torch.tensor(list(ids), dtype=torch.long))
        x = masked(self.stack, method, torch.cat((self.embed(prompt), after)))
        out: Tensor = self.llama.logits(x[prompt.layout().prompt - 1 :])
        return out

    def header(self, family: str, layout: Layout, source: str, **knobs: Any) -> Header:
        """Return the header of a trace of this model with random weights."""
        shape = shape_of(self.llama.config, "tiny", source)
        return image_header(family, shape, layout, Provenance("synthetic", knobs=knobs, source=source))


def masks_of(layout: Layout, classes: Sequence[int]) -> Masks:
    """Return the masks of a prompt with an image; ``classes`` [layers]."""
    return Masks.of(layout.segments(), layout.tokens, tuple(int(c) for c in classes))


def causal(layout: Layout, layers: int) -> Masks:
    """Return masks that are causal in every layer."""
    return masks_of(layout, [MaskClass.CAUSAL] * layers)


def exported(header: Header, run: RowSets, *, explicit: bool, **arrays: Any) -> Trace:
    """Return the trace of what ``run`` computed and decided; ``explicit`` records positions."""
    run.recorder.events = list(run.method.events)
    if explicit:
        header = replace(header, position_policy="explicit")
        tokens = torch.arange(run.recorder.tokens) + run.origin
        arrays["positions"] = run.method.positions(tokens).numpy()
    if any(run.method.masks.classes):
        arrays["mask_class"] = np.asarray(run.method.masks.classes)
    return run.recorder.trace(header, **arrays)
