"""Routing-Free MoE: experts that switch themselves on, no router, no top-k, no softmax (arXiv 2604.00801).

Expert i of a token x: z = A_i x; its score is ReLU(s_i ‖z‖ + b_i), and it is active where that reaches θ. The FFN's
output is the sum of score · Down_i(SiLU(B_i z) · Up_i x) over active experts: between none and all of them. Every A_i
runs for every token; an active expert reuses its z.

Attention is our grouped-query attention; the published models use multi-head latent attention (MLA). The first
layers have an ordinary FFN. Untrained, b_i = −√rank puts the threshold near the middle of ‖z‖ of a normalised token;
the adaptive density loss of the paper belongs to training and is not here.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.models.llama import Llama
from skipopu.models.routed_decoder import RoutedDecoder, Whole
from skipopu.models.routed_export import About, export_run
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import Router, Trace


@dataclass(frozen=True)
class MoeConfig:
    """Experts of a layer, their channels, the rank of A_i, θ, layers with an ordinary FFN; defaults as published."""

    experts: int = 12
    expert_size: int = 128
    expert_rank: int = 16
    threshold: float = 0.2
    dense_layers: int = 1

    def __post_init__(self) -> None:
        for key in ("experts", "expert_size", "expert_rank"):
            if getattr(self, key) < 1:
                raise SpecError(f"routing-free MoE {key} = {getattr(self, key)}; must be at least 1")
        if self.threshold <= 0:
            raise SpecError(f"routing-free MoE threshold = {self.threshold}; must be above 0, or all are active")


class Experts(nn.Module):
    """The experts of a layer, stacked: matrices [experts, out, in], scales and offsets [experts]."""

    def __init__(self, hidden_size: int, moe: MoeConfig) -> None:
        super().__init__()
        self.threshold, e, size = moe.threshold, moe.experts, moe.expert_size
        self.a = nn.Parameter(torch.zeros(e, moe.expert_rank, hidden_size))
        self.b = nn.Parameter(torch.zeros(e, size, moe.expert_rank))
        self.up = nn.Parameter(torch.zeros(e, size, hidden_size))
        self.down = nn.Parameter(torch.zeros(e, hidden_size, size))
        self.scale = nn.Parameter(torch.ones(e))
        self.offset = nn.Parameter(torch.full((e,), -(moe.expert_rank**0.5)))

    def scores(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z [experts, T, rank] and scores [T, experts] of ``x`` [T, hidden]."""
        z = functional.linear(x, self.a.flatten(0, 1)).unflatten(-1, self.a.shape[:2]).transpose(0, 1)
        return z, functional.relu(self.scale * z.norm(dim=-1).T + self.offset)

    def active(self, scores: Tensor) -> Tensor:
        """Return which experts run, [T, experts]."""
        return scores >= self.threshold

    def expert(self, index: int, x: Tensor, z: Tensor) -> Tensor:
        """Return one expert's output [R, hidden] for rows ``x`` [R, hidden] and their ``z`` [R, rank]."""
        inner = functional.silu(functional.linear(z, self.b[index])) * functional.linear(x, self.up[index])
        return functional.linear(inner, self.down[index])

    def forward(self, x: Tensor, z: Tensor, weights: Tensor) -> Tensor:
        """Return the sum of all experts of every row, weighted by ``weights`` [T, experts]."""
        inner = functional.silu(torch.einsum("esr,etr->tes", self.b, z)) * torch.einsum("esd,td->tes", self.up, x)
        return torch.einsum("te,eds,tes->td", weights, self.down, inner)


class RoutingFreeMoe(RoutedDecoder):
    """A decoder whose FFNs, after the first ``dense_layers``, are self-activating experts.

    It takes ``llama`` over and removes the FFNs that the experts stand in for.
    """

    def __init__(self, llama: Llama, moe: MoeConfig) -> None:
        super().__init__(llama)
        self.moe = moe
        sparse = range(moe.dense_layers, llama.config.layers)
        self.experts = nn.ModuleDict({str(index): Experts(llama.config.hidden_size, moe) for index in sparse})
        for index in sparse:
            del llama.model.layers[index].mlp

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """All experts of every row, weighted by score where active and by zero elsewhere."""
        layer = self.llama.model.layers[index]
        x = x + whole.attention(layer, x)
        normed = layer.post_attention_layernorm(x)
        if str(index) not in self.experts:
            return x + layer.mlp(normed)
        experts = self.experts[str(index)]
        z, scores = experts.scores(normed)
        active = whole.decide("experts", index, whole.tokens, lambda: experts.active(scores))
        out: Tensor = x + experts(normed, z, scores * active)
        return out

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """All scores; then each expert for its rows alone, a group that may be empty."""
        layer, rows = self.llama.model.layers[index], torch.arange(len(x))
        run.append_entries(index, layer, x, rows, tokens)
        x = x + run.attention(index, layer, x, rows, tokens)
        if str(index) not in self.experts:
            return x + run.ffn(index, layer, x, rows, tokens)
        run.recorder.ran("ffn", index, tokens)  # every A_i has every row
        return self._experts(self.experts[str(index)], index, x, layer.post_attention_layernorm(x), tokens, run)

    def knobs(self) -> dict[str, Any]:
        """The configuration."""
        return asdict(self.moe)

    def header(self) -> dict[str, Any]:
        """Family, no routers, K/V of every token, number of experts."""
        return {"family": "routing_free_moe", "router": Router(), "kv_policy": "dense", "experts": self.moe.experts}

    def arrays(self, run: Run) -> dict[str, Any]:
        """Active experts, and the scores they are weighted with."""
        return {name: run.array(name) for name in ("experts", "expert_scores")}

    def _experts(self, experts: Experts, index: int, x: Tensor, normed: Tensor, tokens: Tensor, run: Run) -> Tensor:
        z, scores = experts.scores(normed)
        active = run.decide("experts", index, tokens, lambda: experts.active(scores))
        run.mark("experts", index, tokens, active)
        run.mark("expert_scores", index, tokens, (scores * active).float())
        for i in range(self.moe.experts):
            rows = active[:, i].nonzero()[:, 0]
            if len(rows):
                x = x.index_add(0, rows, scores[rows, i, None] * experts.expert(i, normed[rows], z[i, rows]))
        return x


def export_routing_free_moe(model: RoutingFreeMoe, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, about)
