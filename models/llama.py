"""A small Llama: RMSNorm, RoPE, grouped-query attention, SwiGLU; parameters named as in Hugging Face."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.models.config import LlamaConfig
from skipopu.models.rotary import rotate, rotation


class RMSNorm(nn.Module):
    """x / sqrt(mean x² + ε) · weight over the last dimension; half precision is normalised in float32."""

    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` [..., size]."""
        wide = x if x.dtype == torch.float64 else x.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.epsilon)
        return self.weight * (wide * scale).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention in three parts, so that queries and keys may belong to different tokens."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        query, kv = config.attention_heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, query, bias=config.qkv_bias)
        self.k_proj = nn.Linear(config.hidden_size, kv, bias=config.qkv_bias)
        self.v_proj = nn.Linear(config.hidden_size, kv, bias=config.qkv_bias)
        self.o_proj = nn.Linear(query, config.hidden_size, bias=False)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_epsilon)
            self.k_norm = RMSNorm(config.head_dim, config.norm_epsilon)

    def queries(self, normed: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Project and rotate: [..., T, hidden] → [..., T, attention_heads, head_dim]."""
        q = self.q_proj(normed).unflatten(-1, (-1, self.config.head_dim))
        return rotate(self.q_norm(q) if self.config.qk_norm else q, cos, sin)

    def keys_values(self, normed: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Project K and V, rotate K: [..., T, hidden] → two of [..., T, kv_heads, head_dim]."""
        k = self.k_proj(normed).unflatten(-1, (-1, self.config.head_dim))
        v = self.v_proj(normed).unflatten(-1, (-1, self.config.head_dim))
        return rotate(self.k_norm(k) if self.config.qk_norm else k, cos, sin), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None) -> Tensor:
        """Attend and project the output: [..., R, hidden] for queries [..., R, heads, head_dim].

        ``visible`` [R, N] marks the keys each query sees; None means causal over the same tokens.
        """
        groups = self.config.attention_heads // self.config.kv_heads
        k, v = (t.repeat_interleave(groups, dim=-2).transpose(-2, -3) for t in (k, v))
        out = functional.scaled_dot_product_attention(
            q.transpose(-2, -3), k, v, attn_mask=visible, is_causal=visible is None
        )
        projected: Tensor = self.o_proj(out.transpose(-2, -3).flatten(-2))
        return projected


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate x) · up x)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, normed: Tensor) -> Tensor:
        """Transform each token of ``normed`` [..., hidden] by itself."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(normed)) * self.up_proj(normed))
        return out


class DecoderLayer(nn.Module):
    """Attention and feed-forward, each behind its own norm and added to the residual stream."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_epsilon)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Run both modules for every token of ``x`` [..., T, hidden]."""
        normed = self.input_layernorm(x)
        q, (k, v) = self.self_attn.queries(normed, cos, sin), self.self_attn.keys_values(normed, cos, sin)
        x = x + self.self_attn.attend(q, k, v)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    """Embedding, layers and final norm: what Hugging Face calls ``model``."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.hidden_size)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_epsilon)


class Llama(nn.Module):
    """The dense language model; :class:`skipopu.models.skipgpt.SkipGPT` runs its layers with skipping."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        if not config.tied_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [B, T, vocabulary] of ``tokens`` [B, T]."""
        x = self.model.embed_tokens(tokens)
        cos, sin = rotation(self.config, torch.arange(tokens.shape[-1], device=tokens.device), x.dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """Final norm and output head: [..., hidden] → [..., vocabulary]."""
        head = self.model.embed_tokens if self.config.tied_embeddings else self.lm_head
        return functional.linear(self.model.norm(x), head.weight)

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw all matrices from a normal distribution and set biases to zero, the same for the same seed.

        The deviation is 1/√hidden, which keeps normalised activations at unit variance, and 1/√(2 layers)
        of that where a module writes to the residual stream.
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                scale = (2 * self.config.layers) ** -0.5 if residual else 1.0
                parameter.normal_(0.0, scale * self.config.hidden_size**-0.5, generator=generator)
            elif name.endswith("bias"):
                parameter.zero_()
