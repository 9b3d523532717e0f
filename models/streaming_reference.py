"""The reference of streaming models: all tokens at once under the streaming mask that such models are trained with.

It knows neither caches nor pops: a target token sees the source up to where its *next* token may look, and the target
up to itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from skipopu.models.llama import Llama
from skipopu.models.rotary import rotation


def streaming_mask(source: int, sees: Sequence[int]) -> Tensor:
    """Return which keys each query sees, bool [source + target, source + target], source first.

    ``sees[t]``: how many source tokens there are for target token t. The source is causal and sees no target.
    """
    target = len(sees)
    visible = torch.zeros(source + target, source + target, dtype=torch.bool)
    visible[:source, :source] = torch.ones(source, source, dtype=torch.bool).tril()
    visible[source:, source:] = torch.ones(target, target, dtype=torch.bool).tril()
    visible[source:, :source] = torch.arange(source)[None, :] < torch.tensor(sees)[:, None]
    return visible


def group_positions(source: int, target: int, target_position: int) -> Tensor:
    """Return positions [source + target]: each group counts by itself, the target from ``target_position``."""
    return torch.cat((torch.arange(source), target_position + torch.arange(target)))


@torch.no_grad()
def forward(llama: Llama, ids: Tensor, positions: Tensor, visible: Tensor) -> Tensor:
    """Return logits [T, vocabulary] of tokens ``ids`` [T] with every row computed under ``visible`` [T, T]."""
    x = llama.model.embed_tokens(ids)
    cos, sin = rotation(llama.config, positions, x.dtype)
    for layer in llama.model.layers:
        normed = layer.input_layernorm(x)
        keys = layer.self_attn.keys_values(normed, cos, sin)
        x = x + layer.self_attn.attend(layer.self_attn.queries(normed, cos, sin), *keys, visible)
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return llama.logits(x)
