"""D-LLM: a token runs a whole layer or none of it, and leaves no K/V where it does not (NeurIPS 2024).

The first layers and the first tokens always run. A router reads the layer's input: D → hidden, RMSNorm, SiLU, → 2.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from skipopu.models.llama import Llama, RMSNorm
from skipopu.models.routed_decoder import RoutedDecoder, Whole
from skipopu.models.routed_export import About, export_run
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import Router, Trace


@dataclass(frozen=True)
class DllmConfig:
    """Width of the routers and what always runs; defaults as in D-LLM's public code."""

    hidden: int = 512
    start_layer: int = 2
    reserved_tokens: int = 2

    def __post_init__(self) -> None:
        for key, least in (("hidden", 1), ("start_layer", 1), ("reserved_tokens", 0)):
            if getattr(self, key) < least:
                raise SpecError(f"D-LLM {key} = {getattr(self, key)}; must be at least {least}")


class DllmRouter(nn.Module):
    """Two logits [..., 2] of the residual stream [..., D]; logit 0 executes. Matrices without biases (our choice)."""

    def __init__(self, hidden_size: int, hidden: int, epsilon: float) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden_size, hidden, bias=False)
        self.norm = RMSNorm(hidden, epsilon)
        self.outer = nn.Linear(hidden, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.outer(nn.functional.silu(self.norm(self.inner(x))))
        return logits


class Dllm(RoutedDecoder):
    """A decoder with one router a layer, from ``start_layer`` on."""

    def __init__(self, llama: Llama, dllm: DllmConfig) -> None:
        super().__init__(llama)
        self.dllm = dllm
        c = llama.config
        self.routers = nn.ModuleList(
            DllmRouter(c.hidden_size, dllm.hidden, c.norm_epsilon) for _ in range(dllm.start_layer, c.layers)
        )

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """Both modules for every row; skipped tokens keep their stream and are no keys."""
        layer = self.llama.model.layers[index]
        runs = whole.decide("attention", index, whole.tokens, lambda: self._runs(index, x, whole.tokens))
        out = x + whole.attention(layer, x, runs)
        out = out + layer.mlp(layer.post_attention_layernorm(out))
        return torch.where(runs[:, None], out, x)

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """Both modules for executed rows alone."""
        layer = self.llama.model.layers[index]
        rows = run.decide("attention", index, tokens, lambda: self._runs(index, x, tokens)).nonzero()[:, 0]
        run.append_entries(index, layer, x, rows, tokens)
        x = x.index_add(0, rows, run.attention(index, layer, x, rows, tokens))
        return x.index_add(0, rows, run.ffn(index, layer, x, rows, tokens))

    def knobs(self) -> dict[str, Any]:
        """The configuration."""
        return asdict(self.dllm)

    def header(self) -> dict[str, Any]:
        """Family, shared routers, eviction."""
        always = tuple(range(min(self.dllm.start_layer, self.config.layers)))
        router = Router(
            "mlp",
            self.dllm.hidden,
            always_on_attention=always,
            always_on_ffn=always,
            always_on_tokens=self.dllm.reserved_tokens,
            shared=True,
        )
        return {"family": "dllm", "router": router, "kv_policy": "evict"}

    def _runs(self, index: int, x: Tensor, tokens: Tensor) -> Tensor:
        reserved = tokens < self.dllm.reserved_tokens
        if index < self.dllm.start_layer:
            return torch.ones_like(reserved)
        logits = self.routers[index - self.dllm.start_layer](x)
        return (logits[:, 0] >= logits[:, 1]) | reserved


def export_dllm(model: Dllm, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, about)
