"""Mixture-of-Depths: every other block takes only the tokens that score highest (arXiv 2404.02258).

A routed block computes x + w·f(x), with w the token's score and f(x) what attention and FFN add, among the chosen
tokens alone. Over a prompt each block chooses its top-k (expert choice): that looks ahead, a later token can push an
earlier one out. A token that is decoded alone runs where its score exceeds the block's threshold, which is causal.

So prefill agrees with the masked reference over the same prompt, and decoding with the reference whose later tokens
go by threshold. Prefill of a longer text does not agree with decoding its end, unless both are told who runs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import torch
from torch import Tensor, nn

from skipopu.models.llama import Llama
from skipopu.models.routed_decoder import RoutedDecoder, Whole
from skipopu.models.routed_export import About, export_run
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import Router, Trace
from skipopu.trace.families.mod import capacity_tokens, routed_layers


@dataclass(frozen=True)
class ModConfig:
    """Share of a prompt that a routed block takes, and one routed block in ``every``, the last of each."""

    capacity: float = 0.125
    every: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.capacity <= 1:
            raise SpecError(f"MoD capacity = {self.capacity}; must be above 0 and at most 1, e.g. 0.125")
        if self.every < 1:
            raise SpecError(f"MoD every = {self.every}; must be at least 1")


class MixtureOfDepths(RoutedDecoder):
    """A decoder with a scoring vector in each routed block, and the threshold that decoding goes by."""

    threshold: Tensor

    def __init__(self, llama: Llama, mod: ModConfig) -> None:
        super().__init__(llama)
        self.mod = mod
        self.routed = routed_layers(llama.config.layers, mod.every)
        self.scores = nn.ModuleDict(
            {str(layer): nn.Linear(llama.config.hidden_size, 1, bias=False) for layer in self.routed}
        )
        self.register_buffer("threshold", torch.zeros(llama.config.layers))

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """The block's addition for every row, among chosen keys; masked and weighted afterwards."""
        layer, (score, runs) = self.llama.model.layers[index], self._chosen_whole(index, x, whole)
        out = x + whole.attention(layer, x, runs)
        out = out + layer.mlp(layer.post_attention_layernorm(out))
        return torch.where(runs[:, None], x + score[:, None] * (out - x), x)

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """The block's addition for chosen rows alone."""
        layer, score = self.llama.model.layers[index], self._score(index, x)
        prefill = int(tokens[0]) == 0
        chosen = run.decide("attention", index, tokens, lambda: self._choose(index, score, prefill))
        rows = chosen.nonzero()[:, 0]
        run.append_entries(index, layer, x, rows, tokens)
        out = x.index_add(0, rows, run.attention(index, layer, x, rows, tokens))
        out = out.index_add(0, rows, run.ffn(index, layer, out, rows, tokens))
        return x.index_add(0, rows, score[rows, None] * (out[rows] - x[rows]))

    @torch.inference_mode()
    def calibrate(self, tokens: Tensor) -> None:
        """Set each threshold midway between the last chosen and the first passed-over score of ``tokens`` [T]."""
        whole: list[Tensor] = []
        handles = [s.register_forward_hook(lambda _, __, out: whole.append(out[:, 0])) for s in self.scores.values()]
        self(tokens)
        for handle in handles:
            handle.remove()
        for layer, scores in zip(self.routed, whole, strict=True):
            ordered, k = scores.sort(descending=True).values, capacity_tokens(self.mod.capacity, len(tokens))
            self.threshold[layer] = ordered[k - 1 : k + 1].mean()

    def knobs(self) -> dict[str, Any]:
        """The configuration."""
        return asdict(self.mod)

    def header(self) -> dict[str, Any]:
        """Family, shared linear routers of the routed blocks, eviction."""
        always = tuple(layer for layer in range(self.config.layers) if layer not in self.routed)
        router = Router("linear", always_on_attention=always, always_on_ffn=always, shared=True)
        return {"family": "mod", "router": router, "kv_policy": "evict"}

    def _score(self, index: int, x: Tensor) -> Tensor:
        """Scores [T]; 1 in a block that takes every token."""
        return self.scores[str(index)](x)[:, 0] if index in self.routed else x.new_ones(len(x))

    def _choose(self, index: int, score: Tensor, at_once: bool) -> Tensor:
        """Which of a step's tokens run, [T]: the top-k of a prompt, those above the threshold otherwise."""
        if index not in self.routed:
            return torch.ones_like(score, dtype=torch.bool)
        if not at_once:
            return score > self.threshold[index]
        best = score.topk(capacity_tokens(self.mod.capacity, len(score))).indices
        return torch.zeros_like(score, dtype=torch.bool).index_fill(0, best, True)

    def _chosen_whole(self, index: int, x: Tensor, whole: Whole) -> tuple[Tensor, Tensor]:
        score, n = self._score(index, x), whole.prompt

        def own() -> Tensor:
            later = self._choose(index, score[n:], at_once=False)
            return torch.cat((self._choose(index, score[:n], at_once=True), later))

        return score, whole.decide("attention", index, whole.tokens, own)


def export_mod(model: MixtureOfDepths, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, about)
