"""LFF: a token runs a module, or a low-rank stand-in for it (InformedRouting, arXiv 2510.13831).

A row that does not run a module gets x + LFF(norm(x)), with LFF = D → rank, SiLU, → D. Routers (D → hidden, ReLU,
→ 2) read the module's normalised input. K and V are projected for every token. The third state, nothing at all, is
ours: it takes rows whose skip logit leads by more than ``drop_margin``; the published method has none.
"""

import math
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
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import Router, Trace
from skipopu.trace.families.lff import router_width

MODULES = ("attention", "ffn")


@dataclass(frozen=True)
class LffConfig:
    """Rank of the stand-ins; width of the routers, 0 for the published D/4 − 200; lead beyond which nothing runs."""

    rank: int = 100
    router_hidden: int = 0
    drop_margin: float = math.inf

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise SpecError(f"LFF rank = {self.rank}; must be at least 1")
        if self.drop_margin < 0:
            raise SpecError(f"LFF drop_margin = {self.drop_margin}; must be at least 0")


class Lff(RoutedDecoder):
    """A decoder with a router and a stand-in for each module of each layer."""

    def __init__(self, llama: Llama, lff: LffConfig) -> None:
        super().__init__(llama)
        self.lff, c = lff, llama.config
        self.hidden = lff.router_hidden or router_width(c.hidden_size)
        sites = [f"{module}{layer}" for module in MODULES for layer in range(c.layers)]
        self.routers = nn.ModuleDict({site: _two_layers(c.hidden_size, self.hidden, 2, nn.ReLU()) for site in sites})
        self.stand_ins = nn.ModuleDict(
            {site: _two_layers(c.hidden_size, lff.rank, c.hidden_size, nn.SiLU()) for site in sites}
        )

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """Module and stand-in of every row, then one of them, or none."""
        layer = self.llama.model.layers[index]
        x = self._masked("attention", index, x, layer.input_layernorm(x), whole.attention(layer, x), whole)
        normed = layer.post_attention_layernorm(x)
        return self._masked("ffn", index, x, normed, layer.mlp(normed), whole)

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """Each module for the rows it runs for, its stand-in for those that it approximates."""
        layer = self.llama.model.layers[index]
        run.append_entries(index, layer, x, torch.arange(len(x)), tokens)
        normed = layer.input_layernorm(x)
        rows, approximated = self._states("attention", index, normed, tokens, run)
        out = x.index_add(0, rows, run.attention(index, layer, x, rows, tokens))
        x = out.index_add(0, approximated, self.stand_ins[f"attention{index}"](normed[approximated]))
        normed = layer.post_attention_layernorm(x)
        rows, approximated = self._states("ffn", index, normed, tokens, run)
        out = x.index_add(0, rows, run.ffn(index, layer, x, rows, tokens))
        return out.index_add(0, approximated, self.stand_ins[f"ffn{index}"](normed[approximated]))

    def knobs(self) -> dict[str, Any]:
        """Rank, and the margin where it is a number."""
        drops = {} if math.isinf(self.lff.drop_margin) else {"drop_margin": self.lff.drop_margin}
        return {"rank": self.lff.rank} | drops

    def header(self) -> dict[str, Any]:
        """Family, mlp routers, K/V of every token."""
        router = Router("mlp", self.hidden, ffn_input="post_attention")
        return {"family": "lff", "router": router, "kv_policy": "dense"}

    def arrays(self, run: Run) -> dict[str, Any]:
        """The rows that ran a stand-in, of both modules."""
        return {"approx_rows": np.stack([run.array(f"approx_{module}") for module in MODULES])}

    def _masked(self, module: str, index: int, x: Tensor, normed: Tensor, full: Tensor, whole: Whole) -> Tensor:
        runs, approximated = self._decided(module, index, normed, whole.tokens, whole.decide)
        stand_in = self.stand_ins[f"{module}{index}"](normed)
        return x + torch.where(runs[:, None], full, torch.where(approximated[:, None], stand_in, 0.0))

    def _states(self, module: str, index: int, normed: Tensor, tokens: Tensor, run: Run) -> tuple[Tensor, Tensor]:
        """Rows that run the module, and rows that run its stand-in."""
        runs, approximated = self._decided(module, index, normed, tokens, run.decide)
        run.mark(f"approx_{module}", index, tokens, approximated)
        return runs.nonzero()[:, 0], approximated.nonzero()[:, 0]

    def _decided(
        self, module: str, index: int, normed: Tensor, tokens: Tensor, decide: Decisions
    ) -> tuple[Tensor, Tensor]:
        logits = self.routers[f"{module}{index}"](normed)
        lead = logits[:, 1] - logits[:, 0]
        runs = decide(module, index, tokens, lambda: lead <= 0)
        near = decide(f"approx_{module}", index, tokens, lambda: (lead > 0) & (lead <= self.lff.drop_margin))
        return runs, near


def export_lff(model: Lff, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, about)


def _two_layers(inputs: int, inner: int, outputs: int, between: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inner, bias=False), between, nn.Linear(inner, outputs, bias=False))
