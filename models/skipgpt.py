"""SkipGPT on a Llama-style decoder: a token may skip the attention and the feed-forward module of any layer.

Two ways to run the same model, each the other's check:
:meth:`SkipGPT.forward` computes everything and masks (training, evaluation, batches);
:meth:`SkipGPT.extend` computes executed rows only and keeps a KV cache (prefill and decode of one sequence).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skipopu.models.config import LlamaConfig, SkipConfig
from skipopu.models.kv_cache import KVCache
from skipopu.models.llama import DecoderLayer, Llama
from skipopu.models.rotary import rotation
from skipopu.models.router import Routers
from skipopu.models.routing import ATTENTION, FFN, Argmax, Rule, Site


@dataclass(frozen=True)
class Output:
    """Logits [..., T, vocabulary] and what executed: ``gates`` [2, layers, ..., T], attention, then FFN."""

    logits: Tensor
    gates: Tensor

    @property
    def executed(self) -> Tensor:
        """The gates as Booleans."""
        return self.gates.detach() > 0


class SkipGPT(nn.Module):
    """A Llama-style decoder with a router before every module.

    ``llama`` is the backbone, own or loaded from a checkpoint; ``skip`` says how tokens are routed.
    """

    def __init__(self, llama: Llama, skip: SkipConfig) -> None:
        super().__init__()
        skip.check_layers(llama.config.layers)
        self.llama = llama
        self.skip = skip
        self.routers = Routers(llama.config, skip)

    @property
    def config(self) -> LlamaConfig:
        """Dimensions of the backbone."""
        return self.llama.config

    def forward(self, tokens: Tensor, rule: Rule | None = None) -> Output:
        """Run ``tokens`` [B, T] computing every row, then masking; differentiable where the gates are."""
        rule = rule or Argmax()
        positions = torch.arange(tokens.shape[-1], device=tokens.device)
        x = self.llama.model.embed_tokens(tokens)
        cos, sin = rotation(self.config, positions, x.dtype)
        gates: list[Tensor] = []
        kv: tuple[Tensor, Tensor] | None = None
        for index, layer in enumerate(self.llama.model.layers):
            entry = x
            gate = self._decide(Site(index, ATTENTION), entry, positions, rule)
            x, kv = self._masked_attention(layer, x, gate, kv, cos, sin)
            gates.append(gate)
            gate = self._decide(Site(index, FFN), self._ffn_router_input(entry, x), positions, rule)
            x = _choose(gate, x + layer.mlp(layer.post_attention_layernorm(x)), x)
            gates.append(gate)
        return Output(self.llama.logits(x), torch.stack((torch.stack(gates[0::2]), torch.stack(gates[1::2]))))

    def _masked_attention(
        self,
        layer: DecoderLayer,
        x: Tensor,
        gate: Tensor,
        below: tuple[Tensor, Tensor] | None,
        cos: Tensor,
        sin: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        normed = layer.input_layernorm(x)
        k, v = layer.self_attn.keys_values(normed, cos, sin)
        if self.skip.kv_policy == "reuse_last" and below is not None:
            k, v = (_choose(gate[..., None], new, old) for new, old in zip((k, v), below, strict=True))
        out = layer.self_attn.attend(layer.self_attn.queries(normed, cos, sin), k, v)
        return _choose(gate, x + out, x), (k, v)

    def new_cache(self, capacity: int) -> KVCache:
        """Return an empty cache for ``capacity`` tokens in the model's type and place."""
        weight = self.llama.model.embed_tokens.weight
        return KVCache(self.config, capacity, weight.dtype, weight.device)

    @torch.inference_mode()
    def extend(self, tokens: Tensor, cache: KVCache, rule: Rule | None = None) -> Output:
        """Append ``tokens`` [T] of one sequence to ``cache``: logits [T, vocabulary], gates [2, layers, T].

        Only executed rows are normalised, projected, attended with and transformed.
        """
        output: Output = self.extend_embedded(self.llama.model.embed_tokens(tokens), cache, rule)
        return output

    @torch.inference_mode()
    def extend_embedded(self, x: Tensor, cache: KVCache, rule: Rule | None = None) -> Output:
        """Do as `extend` for embeddings ``x`` [T, hidden], which need not be those of tokens."""
        rule = rule or Argmax()
        positions = cache.reserve(x.shape[0])
        gates: list[Tensor] = []
        for index in range(self.config.layers):
            x, attention, ffn = self.layer(index, x, cache, positions, rule)
            gates += [attention, ffn]
        return Output(self.llama.logits(x), torch.stack((torch.stack(gates[0::2]), torch.stack(gates[1::2]))))

    def layer(
        self, index: int, x: Tensor, cache: KVCache, positions: Tensor, rule: Rule
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run executed rows of ``x`` [T, hidden] through a layer: its output, gates of attention and FFN [T]."""
        layer, entry = self.llama.model.layers[index], x
        attention = self._decide(Site(index, ATTENTION), entry, positions, rule)
        x = self._gathered_attention(index, x, attention, cache, positions)
        ffn = self._decide(Site(index, FFN), self._ffn_router_input(entry, x), positions, rule)
        rows = ffn.nonzero()[:, 0]
        return x.index_add(0, rows, layer.mlp(layer.post_attention_layernorm(x[rows]))), attention, ffn

    def _gathered_attention(
        self, index: int, x: Tensor, gate: Tensor, cache: KVCache, positions: Tensor
    ) -> Tensor:
        layer = self.llama.model.layers[index]
        rows = gate.nonzero()[:, 0]
        kv_rows = rows if self.skip.kv_policy == "reuse_last" else torch.arange(len(x), device=x.device)
        k, v = layer.self_attn.keys_values(
            layer.input_layernorm(x[kv_rows]), *rotation(self.config, positions[kv_rows], x.dtype)
        )
        cache.write(index, positions, positions[kv_rows], k, v)
        if not len(rows):
            return x
        q = layer.self_attn.queries(
            layer.input_layernorm(x[rows]), *rotation(self.config, positions[rows], x.dtype)
        )
        visible = torch.arange(cache.length, device=x.device)[None, :] <= positions[rows][:, None]
        return x.index_add(0, rows, layer.self_attn.attend(q, *cache.read(index), visible))

    def _decide(self, site: Site, x: Tensor, positions: Tensor, rule: Rule) -> Tensor:
        always = self.skip.always_on_attention if site.module == ATTENTION else self.skip.always_on_ffn
        if site.layer in always or self.skip.router == "none":
            return torch.ones(x.shape[:-1], dtype=torch.bool, device=x.device)
        routers = self.routers.attention if site.module == ATTENTION else self.routers.ffn
        return rule(site, routers[site.layer](x), positions)

    def _ffn_router_input(self, entry: Tensor, after_attention: Tensor) -> Tensor:
        return entry if self.skip.ffn_input == "layer_input" else after_attention


def _choose(gate: Tensor, executed: Tensor, skipped: Tensor) -> Tensor:
    """Select per token; a floating gate of zeros and ones makes the selection differentiable in the gate."""
    gate = gate[..., None]
    if gate.dtype == torch.bool:
        return torch.where(gate, executed, skipped)
    return gate * executed + (1 - gate) * skipped
