"""Groups of heads and channels: computed alone, and by the definition of attention with zeros in their place."""

import torch
from torch import Tensor
from torch.nn import functional

from skipopu.models.llama import Attention, DecoderLayer, FeedForward
from skipopu.models.rotary import rotate, rotation
from skipopu.models.routed_decoder import Whole


def masked_attention(layer: DecoderLayer, x: Tensor, chosen: Tensor, whole: Whole) -> Tensor:
    """All heads of all rows by the definition of attention, skipped heads zeroed before the output projection."""
    attention, normed = layer.self_attn, layer.input_layernorm(x)
    q = attention.queries(normed, whole.cos, whole.sin)
    shared = q.shape[-2] // attention.config.kv_heads
    k, v = (t.repeat_interleave(shared, -2) for t in attention.keys_values(normed, whole.cos, whole.sin))
    scores = torch.einsum("qhd,khd->hqk", q, k) * attention.config.head_dim**-0.5
    weights = scores.masked_fill(~whole.causal, -torch.inf).softmax(-1)
    runs = chosen.repeat_interleave(q.shape[-2] // chosen.shape[1], 1)
    heads = torch.einsum("hqk,khd->qhd", weights, v) * runs[..., None]
    out: Tensor = attention.o_proj(heads.flatten(-2))
    return out


def attend_group(
    attention: Attention, normed: Tensor, tokens: Tensor, k: Tensor, v: Tensor, heads: slice, visible: Tensor
) -> Tensor:
    """Output [R, hidden] of the query heads that share KV ``heads``, with their part of Q and O alone."""
    c = attention.config
    wide = c.attention_heads // c.kv_heads * c.head_dim  # elements of Q per KV head
    span = slice(heads.start * wide, heads.stop * wide)
    bias = None if attention.q_proj.bias is None else attention.q_proj.bias[span]
    q = functional.linear(normed, attention.q_proj.weight[span], bias).unflatten(-1, (-1, c.head_dim))
    q = rotate(attention.q_norm(q) if c.qk_norm else q, *rotation(c, tokens, normed.dtype))
    k, v = (t.repeat_interleave(c.attention_heads // c.kv_heads, -2).transpose(0, 1) for t in (k, v))
    out = functional.scaled_dot_product_attention(q.transpose(0, 1), k, v, attn_mask=visible)
    return functional.linear(out.transpose(0, 1).flatten(-2), attention.o_proj.weight[:, span])


def ffn_group(mlp: FeedForward, normed: Tensor, channels: slice) -> Tensor:
    """Output [R, hidden] of some ``channels``, with their part of gate, up and down alone."""
    gate = functional.linear(normed, mlp.gate_proj.weight[channels])
    up = functional.linear(normed, mlp.up_proj.weight[channels])
    return functional.linear(functional.silu(gate) * up, mlp.down_proj.weight[:, channels])
