"""A tiny vision-language model in float64 with large random weights, so that a wrong row shows, and its prompts."""

from functools import cache

import torch

from skipopu.models.config import LlamaConfig
from skipopu.models.visual_language import ImagePrompt, VisualLanguage

LAYERS, VISUAL, PATCH = 8, 12, 6
DECODER = LlamaConfig(
    vocabulary=40, hidden_size=32, intermediate_size=48, layers=LAYERS, attention_heads=4, kv_heads=2, head_dim=8,
    tied_embeddings=True,
)  # fmt: skip
TOWER = LlamaConfig(
    vocabulary=VISUAL, hidden_size=16, intermediate_size=24, layers=3, attention_heads=2, kv_heads=2, head_dim=8
)


@cache
def tiny() -> VisualLanguage:
    model = VisualLanguage(DECODER, TOWER, PATCH).double().eval()
    model.initialize(seed=0, deviation=0.25)
    return model


def prompt(seed: int = 0, system: int = 4, text: int = 5) -> ImagePrompt:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, DECODER.vocabulary, (system + text,), generator=generator).tolist()
    patches = torch.randn(VISUAL, PATCH, generator=generator, dtype=torch.float64)
    return ImagePrompt(words[:system], patches, words[system:])
