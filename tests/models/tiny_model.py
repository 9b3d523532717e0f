"""Small random models with routers that skip about half of everything."""

import torch

from skipopu.models.config import LlamaConfig, SkipConfig
from skipopu.models.llama import Llama
from skipopu.models.skipgpt import SkipGPT

DECODER = LlamaConfig(
    vocabulary=64,
    hidden_size=32,
    intermediate_size=48,
    layers=4,
    attention_heads=4,
    kv_heads=2,
    head_dim=8,
    tied_embeddings=True,
)


def tiny_model(skip: SkipConfig, seed: int = 0, config: LlamaConfig = DECODER) -> SkipGPT:
    """A float64 model with large random weights, so that a wrong row shows."""
    model = SkipGPT(Llama(config), skip).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() == 2:
                parameter.normal_(0.0, 0.3, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.1, generator=generator)
    return model


def tokens(count: int, seed: int = 0) -> torch.Tensor:
    """Random token ids [count]."""
    return torch.randint(0, DECODER.vocabulary, (count,), generator=torch.Generator().manual_seed(seed))
