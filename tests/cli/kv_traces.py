"""Traces of given masks, for `skipopu kv`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.model_shape import ModelShape
from skipopu.trace import make_trace, synthesize, write_trace

SIXTEEN = 16


def written(path: Path, executed: NDArray[np.bool_], decode: int = 1) -> Path:
    """Write a trace whose attention runs where ``executed`` [layers, tokens] says; the last tokens are decoded."""
    layers, tokens = executed.shape
    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    sizes = {"layers": layers, "hidden_size": 64, "intermediate_size": 128, "vocabulary": 256}
    shape = ModelShape.from_values("small", "test", **sizes, attention_heads=2, kv_heads=2, head_dim=32, **flags)
    plan = synthesize("skipgpt", shape, tokens - decode, decode)
    write_trace(make_trace(plan.header, plan.steps, q=executed, kv=executed, ffn=np.ones_like(executed)), path)
    return path


def even_tokens() -> NDArray[np.bool_]:
    """Attention of the even tokens, and of the newest one."""
    mask = np.arange(SIXTEEN) % 2 == 0
    mask[-1] = True
    return mask
