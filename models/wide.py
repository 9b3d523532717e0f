"""WIDE: every token chooses its own width, head groups of attention and channel groups of the FFN (arXiv 2607.28418).

Both routers are D → rank → 2 logits a group without a nonlinearity; attention's reads the layer's input, the FFN's
the stream after attention. A group is a run of KV heads with the query heads that share them, or a run of channels.
K and V are projected for every token: a query of a group that runs needs the keys of all.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.models.config import LlamaConfig
from skipopu.models.llama import DecoderLayer, Llama
from skipopu.models.routed_decoder import RoutedDecoder, Whole
from skipopu.models.routed_export import About, export_run
from skipopu.models.run import Run
from skipopu.models.wide_group import attend_group, ffn_group, masked_attention
from skipopu.spec.error import SpecError
from skipopu.trace import Router, Trace


@dataclass(frozen=True)
class WideConfig:
    """Rank of the routers and sizes of groups; defaults as in WIDE's public code and run script."""

    rank: int = 16
    kv_heads_per_group: int = 1
    channels_per_group: int = 128


class Wide(RoutedDecoder):
    """A decoder with two routers a layer that choose groups."""

    def __init__(self, llama: Llama, wide: WideConfig) -> None:
        super().__init__(llama)
        self.wide, c = wide, llama.config
        self.head_groups = _groups("kv_heads", c.kv_heads, wide.kv_heads_per_group)
        self.ffn_groups = _groups("intermediate_size", c.intermediate_size, wide.channels_per_group)
        self.attention_routers = _routers(c, wide.rank, self.head_groups)
        self.ffn_routers = _routers(c, wide.rank, self.ffn_groups)

    def masked_layer(self, index: int, x: Tensor, whole: Whole) -> Tensor:
        """All heads and channels for every row, those of skipped groups multiplied by zero."""
        layer = self.llama.model.layers[index]
        heads = whole.decide("head_groups", index, whole.tokens, lambda: _chosen(self.attention_routers[index], x))
        x = x + masked_attention(layer, x, heads, whole)
        channels = whole.decide("ffn_groups", index, whole.tokens, lambda: _chosen(self.ffn_routers[index], x))
        normed, mlp = layer.post_attention_layernorm(x), layer.mlp
        inner = functional.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed)
        out: Tensor = x + mlp.down_proj(inner * channels.repeat_interleave(self.wide.channels_per_group, 1))
        return out

    def executed_layer(self, index: int, x: Tensor, tokens: Tensor, run: Run) -> Tensor:
        """K and V of every token; queries, output and FFN group by group, for the rows that chose the group."""
        layer = self.llama.model.layers[index]
        heads = run.decide("head_groups", index, tokens, lambda: _chosen(self.attention_routers[index], x))
        run.mark("head_groups", index, tokens, heads)
        run.append_entries(index, layer, x, torch.arange(len(x)), tokens)
        x = self._attention(index, layer, x, heads, tokens, run)
        channels = run.decide("ffn_groups", index, tokens, lambda: _chosen(self.ffn_routers[index], x))
        run.mark("ffn_groups", index, tokens, channels)
        return self._ffn(index, layer, x, channels, tokens, run)

    def knobs(self) -> dict[str, Any]:
        """The configuration."""
        return asdict(self.wide)

    def header(self) -> dict[str, Any]:
        """Family, bottleneck routers, K/V of every token, numbers of groups."""
        return {
            "family": "wide",
            "router": Router("bottleneck", self.wide.rank, ffn_input="post_attention"),
            "kv_policy": "dense",
            "head_groups": self.head_groups,
            "ffn_groups": self.ffn_groups,
        }

    def arrays(self, run: Run) -> dict[str, Any]:
        """The groups of both modules."""
        return {name: run.array(name) for name in ("head_groups", "ffn_groups")}

    def _attention(
        self, index: int, layer: DecoderLayer, x: Tensor, chosen: Tensor, tokens: Tensor, run: Run
    ) -> Tensor:
        held, k, v = run.cache.read(index)
        kept, out = layer.input_layernorm(x), x
        for group in range(self.head_groups):
            rows = chosen[:, group].nonzero()[:, 0]
            if not len(rows):
                continue
            run.recorder.ran("q", index, tokens[rows])
            heads = slice(group * self.wide.kv_heads_per_group, (group + 1) * self.wide.kv_heads_per_group)
            visible = held[None, :] <= tokens[rows][:, None]
            part = attend_group(layer.self_attn, kept[rows], tokens[rows], k[:, heads], v[:, heads], heads, visible)
            out = out.index_add(0, rows, part)
        return out

    def _ffn(self, index: int, layer: DecoderLayer, x: Tensor, chosen: Tensor, tokens: Tensor, run: Run) -> Tensor:
        normed, out, size = layer.post_attention_layernorm(x), x, self.wide.channels_per_group
        for group in range(self.ffn_groups):
            rows = chosen[:, group].nonzero()[:, 0]
            if len(rows):
                run.recorder.ran("ffn", index, tokens[rows])
                channels = slice(group * size, (group + 1) * size)
                out = out.index_add(0, rows, ffn_group(layer.mlp, normed[rows], channels))
        return out


def export_wide(model: Wide, prompt: Sequence[int], decode: int, **about: Unpack[About]) -> Trace:
    """Return the trace of a greedy run; see `skipopu.models.routed_export.export_run`."""
    return export_run(model, prompt, decode, about)


def _groups(key: str, whole: int, size: int) -> int:
    if size < 1 or whole % size:
        nearest = min((k for k in range(1, whole + 1) if whole % k == 0), key=lambda k: abs(k - size))
        raise SpecError(f"WIDE group of {size}; must divide {key} = {whole}; nearest: {nearest}")
    return whole // size


def _routers(config: LlamaConfig, rank: int, groups: int) -> nn.ModuleList:
    def router() -> nn.Sequential:
        inner, outer = nn.Linear(config.hidden_size, rank, bias=False), nn.Linear(rank, 2 * groups, bias=False)
        return nn.Sequential(inner, outer)

    return nn.ModuleList(router() for _ in range(config.layers))


def _chosen(router: nn.Module, x: Tensor) -> Tensor:
    """Groups that run, [T, groups]: logit 0 of a pair is not below logit 1."""
    logits: Tensor = router(x).unflatten(-1, (-1, 2))
    return logits[..., 0] >= logits[..., 1]
