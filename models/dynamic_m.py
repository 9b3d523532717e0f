"""PruningInferSim's dynamic M: SkipGPT's shape of work under random masks (arXiv 2606.09080).

Queries, outputs and FFN rows run where a Bernoulli draw says so; K and V are projected for every token. The routers,
D → 16 → 2 on the layer's input and on the stream after attention, are computed and their logits then ignored, as
there: what is measured is the cost of the shape, not what a router has learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from skipopu.models.decisions import Decisions
from skipopu.models.llama import Llama
from skipopu.models.routed_decoder import RoutedDecoder, Whole
from skipopu.models.routed_export import About, export_run
from skipopu.models.router import BOTTLENECK
from skipopu.models.router import Router as Bottleneck
from skipopu.models.routing import ATTENTION, FFN, Site
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import Router, Trace


@dataclass(frozen=True)
class Bernoulli:
    """Skips each module of each token by chance; the draw is a function of seed, layer, module and token."""

    attention_skip: float = 0.25
    ffn_skip: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("attention_skip", "ffn_skip"):
            if not 0 <= getattr(self, key) <= 1:
                raise SpecError(f"dynamic M {key} = {getattr(self, key)}; must be in 0..1")

    def __call__(self, site: Site, logits: Tensor, positions: Tensor) -> Tensor:
        """Return Booleans [T] for ``positions`` [T]; of the logits [T, 2] only the place matters."""
        skip = self.attention_skip if site.module == ATTENTION else self.ffn_skip
        draws = np.random.Generator(np.random.PCG64([self.seed, site.layer, site.module]))
        uniform = draws.random(int(positions.max()) + 1)[positions.cpu().numpy()]
        return torch.from_numpy(uniform >= skip).to(logits.device)


class DynamicM(RoutedDecoder):
    """A decoder with routers that are computed, and masks that are drawn."""

    def __init__(self, llama: Llama, rule: Bernoulli) -> None:
        super().__init__(llama)
        self.rule, c = rule, llama.config
        self.attention_routers = nn.ModuleList(Bottleneck("bottleneck", c.hidden_size) for _ in range(c.layers))
        self.ffn_routers = nn.ModuleList(Bottleneck("bottleneck", c.hidden_size) for _ in range(c.layers))

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """Both modules for every row, then the drawn ones."""
        layer = self.llama.model.layers[index]
        runs = self._decided("attention", index, x, whole.tokens, whole.decide)
        x = torch.where(runs[:, None], x + whole.attention(layer, x), x)
        runs = self._decided("ffn", index, x, whole.tokens, whole.decide)
        return torch.where(runs[:, None], x + layer.mlp(layer.post_attention_layernorm(x)), x)

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """K and V of every row; queries, outputs and FFN of drawn rows alone."""
        layer = self.llama.model.layers[index]
        run.append_entries(index, layer, x, torch.arange(len(x)), tokens)
        rows = self._decided("attention", index, x, tokens, run.decide).nonzero()[:, 0]
        x = x.index_add(0, rows, run.attention(index, layer, x, rows, tokens))
        rows = self._decided("ffn", index, x, tokens, run.decide).nonzero()[:, 0]
        return x.index_add(0, rows, run.ffn(index, layer, x, rows, tokens))

    def knobs(self) -> dict[str, Any]:
        """Rates, and the seed of the masks."""
        return {"mask_seed": self.rule.seed, "attention_skip": self.rule.attention_skip, "ffn_skip": self.rule.ffn_skip}

    def header(self) -> dict[str, Any]:
        """Family, bottleneck routers, K/V of every token."""
        router = Router("bottleneck", BOTTLENECK, ffn_input="post_attention")
        return {"family": "dynamic_m", "router": router, "kv_policy": "dense"}

    def _decided(self, module: str, index: int, x: Tensor, tokens: Tensor, decide: Decisions) -> Tensor:
        site = Site(index, ATTENTION if module == "attention" else FFN)
        routers = self.attention_routers if module == "attention" else self.ffn_routers
        logits = routers[index](x)
        return decide(module, index, tokens, lambda: self.rule(site, logits, tokens))


def export_dynamic_m(model: DynamicM, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, about)
