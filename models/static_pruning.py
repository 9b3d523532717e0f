"""Static pruning: a model whose matrices are smaller, beside the dense one with zeros in their place.

`StaticPruned.reference` is the dense model after the cut: removed rows, columns and modules are zero, low-rank
matrices are the product of their factors, two weights of four are zero. The executing path has the smaller matrices.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor
from torch.nn import functional

from skipopu.models.export import shape_of
from skipopu.models.llama import Llama
from skipopu.models.routed_decoder import RoutedDecoder, Whole
from skipopu.models.routed_export import About, export_run
from skipopu.models.run import Run
from skipopu.models.static_pruning_cut import Kept, smaller_layer, smaller_norm, zero_removed
from skipopu.trace import Router, Trace
from skipopu.trace.families.static import Knobs, plan


@dataclass(frozen=True)
class Cut:
    """What to prune: kind and sparsity as in the generator, ``seed`` for which layers, heads and channels go."""

    kind: str
    sparsity: float
    seed: int = 0


class StaticPruned(RoutedDecoder):
    """A decoder after a cut; every token runs the same."""

    def __init__(self, llama: Llama, cut: Cut) -> None:
        super().__init__(deepcopy(llama))
        self.cut, c = cut, llama.config
        shape = shape_of(c, "model", "configuration")
        self.shapes = plan(shape, Knobs(cut.kind, cut.sparsity), cut.seed)
        changes = {override.layer: override for override in self.shapes}
        kept = [Kept.draw(c, changes.get(layer), (cut.seed, layer)) for layer in range(c.layers)]
        zero_removed(self.reference, kept)
        full = zip(self.reference.model.layers, kept, strict=True)
        self.layers = torch.nn.ModuleList(smaller_layer(layer, c, part) for layer, part in full)
        self.hidden = kept[0].hidden
        self.norm = smaller_norm(self.reference.model.norm, self.hidden)

    @property
    def reference(self) -> Llama:
        """The dense model with zeros."""
        return self.llama

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """The dense layer with zeros."""
        out: Tensor = self.reference.model.layers[index](x, whole.cos, whole.sin)
        return out

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """The modules that are left, with the matrices that are left."""
        layer, rows = self.layers[index], torch.arange(len(x))
        if layer.self_attn is not None:
            run.append_entries(index, layer, x, rows, tokens)
            x = x + run.attention(index, layer, x, rows, tokens)
        return x if layer.mlp is None else x + run.ffn(index, layer, x, rows, tokens)

    def embedded(self, tokens: Tensor) -> Tensor:
        """The elements of the stream that are left."""
        stream: Tensor = functional.embedding(tokens, self.reference.model.embed_tokens.weight[:, self.hidden])
        return stream

    def head(self, x: Tensor) -> Tensor:
        """Final norm and LM head over the elements that are left."""
        tied = self.config.tied_embeddings
        head = self.reference.model.embed_tokens if tied else self.reference.lm_head
        return functional.linear(self.norm(x), head.weight[:, self.hidden])

    def knobs(self) -> dict[str, Any]:
        """The knobs of the generator."""
        return {"kind": self.cut.kind, "sparsity": self.cut.sparsity}

    def header(self) -> dict[str, Any]:
        """Family, no routers, K/V of every token, the cut of each layer."""
        return {"family": "static", "router": Router(), "kv_policy": "dense", "layer_shapes": self.shapes}


def export_static(model: StaticPruned, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run, its seed that of the cut; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, {**about, "seed": model.cut.seed})


def replayed(llama: Llama, trace: Trace) -> StaticPruned:
    """Return ``llama`` after the cut that ``trace`` was exported with."""
    about = trace.header.provenance
    return StaticPruned(llama, Cut(str(about.knobs["kind"]), float(about.knobs["sparsity"]), about.seed or 0))
