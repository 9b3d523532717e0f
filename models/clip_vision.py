"""The CLIP vision tower of LLaVA: a pre-norm transformer over image patches, parameters named as in Hugging Face."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.spec.error import SpecError

CHANNELS = 3


@dataclass(frozen=True)
class ClipConfig:
    """Dimensions of the tower; an image is ``image_size`` pixels square and cut into patches of ``patch_size``."""

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    image_size: int
    patch_size: int
    norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for whole, part in (("hidden_size", "heads"), ("image_size", "patch_size")):
            size, count = getattr(self, whole), getattr(self, part)
            if count < 1 or size < count or size % count:
                raise SpecError(f"vision {part} = {count}; must divide {whole} = {size}")

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2


class Embeddings(nn.Module):
    """A class token and one token a patch, each with a learned position."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        size, patch = config.hidden_size, config.patch_size
        self.class_embedding = nn.Parameter(torch.zeros(size))
        self.patch_embedding = nn.Conv2d(CHANNELS, size, kernel_size=patch, stride=patch, bias=False)
        self.position_embedding = nn.Embedding(config.patches + 1, size)

    def forward(self, pixels: Tensor) -> Tensor:
        """[3, image_size, image_size] → [1 + patches, hidden]."""
        patches = self.patch_embedding(pixels[None])[0].flatten(1).T
        return torch.cat((self.class_embedding[None], patches)) + self.position_embedding.weight


class Attention(nn.Module):
    """Every token attends to every token."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.heads = config.heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(config.hidden_size, config.hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """[T, hidden] → [T, hidden]."""
        parts = (getattr(self, name)(x) for name in ("q_proj", "k_proj", "v_proj"))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(0, 1) for part in parts)
        out: Tensor = self.out_proj(functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).flatten(1))
        return out


class FeedForward(nn.Module):
    """Two layers around x · sigmoid(1.702 x), the "quick" GELU that CLIP was trained with."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[T, hidden] → [T, hidden]."""
        wide = self.fc1(x)
        out: Tensor = self.fc2(wide * torch.sigmoid(1.702 * wide))
        return out


class Layer(nn.Module):
    """Attention and feed-forward, each behind its own norm."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(config.hidden_size, config.norm_epsilon)
        self.self_attn = Attention(config)
        self.layer_norm2 = nn.LayerNorm(config.hidden_size, config.norm_epsilon)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor) -> Tensor:
        """[T, hidden] → [T, hidden]."""
        x = x + self.self_attn(self.layer_norm1(x))
        out: Tensor = x + self.mlp(self.layer_norm2(x))
        return out


class Encoder(nn.Module):
    """The layers, under the name they have in Hugging Face."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))


class ClipVision(nn.Module):
    """The tower; the norm after the last layer is loaded but LLaVA reads an earlier state."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.pre_layrnorm = nn.LayerNorm(config.hidden_size, config.norm_epsilon)
        self.encoder = Encoder(config)
        self.post_layernorm = nn.LayerNorm(config.hidden_size, config.norm_epsilon)

    def forward(self, pixels: Tensor, layers: int) -> Tensor:
        """Return the states [1 + patches, hidden] after the first ``layers`` layers."""
        x: Tensor = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers[:layers]:
            x = layer(x)
        return x
