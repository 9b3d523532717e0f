"""A tiny random LLaVA checkpoint directory, as transformers writes it, with a tokenizer that knows <image>."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

IMAGE_TOKEN, SIDE, PATCHES = 95, 28, 16
VISION = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 4, "image_size": SIDE,
    "patch_size": 7,
}  # fmt: skip
TEXT = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip


def write_llava(directory: Path, **options: Any) -> Any:
    """Save a random checkpoint and return the model of transformers in float64."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**VISION),
        text_config=transformers.LlamaConfig(**TEXT),
        **({"image_token_index": IMAGE_TOKEN, "vision_feature_layer": -2, "image_seq_length": PATCHES} | options),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlavaForConditionalGeneration(config).double().eval()
        with torch.no_grad():
            for _, parameter in sorted(model.named_parameters()):
                parameter.add_(torch.randn(parameter.shape, dtype=torch.float64) * 0.2)
    model.save_pretrained(directory)
    return model


def write_llama(directory: Path) -> None:
    """Save the language model alone, random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT)).save_pretrained(directory)


def write_tokenizer(directory: Path) -> None:
    """Save a tokenizer of whole words, w0 … w94 and <image>."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {f"w{i}": i for i in range(IMAGE_TOKEN)} | {"<image>": IMAGE_TOKEN}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(directory)


def pixels(seed: int = 0, side: int = SIDE) -> NDArray[np.uint8]:
    """A random image."""
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
