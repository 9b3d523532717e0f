"""A tiny vision-language model in float64 with large random weights, so that a wrong row shows, and its prompts."""

from collections import Counter
from functools import cache

import torch

from skipopu.models.config import LlamaConfig
from skipopu.models.embedlens import Words
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


def words(seed: int) -> Words:
    """Classes around the words that the image of ``seed`` really lies nearest to."""
    model, image = tiny(), prompt(seed)
    table = model.llama.model.embed_tokens.weight.detach()
    visual = torch.nn.functional.normalize(model.visual(image.patches).detach(), dim=1)
    nearest = (visual @ torch.nn.functional.normalize(table, dim=1).T).argmax(1)
    common = [word for word, _ in Counter(nearest.tolist()).most_common()]
    return Words(vit_sink=common[-1], llm_sink=-1, dead=common[0], remove="dead")
