"""The gathering path projects, attends with and transforms executed rows and no others."""

from collections import Counter

import pytest
import torch
from tiny_model import tiny_model, tokens
from torch import nn

from skipopu.models.config import SkipConfig
from skipopu.models.skipgpt import SkipGPT

LENGTH = 16


def rows_through(model: SkipGPT, ids: torch.Tensor) -> tuple[Counter[str], torch.Tensor]:
    """Count the rows each projection sees, by name."""
    seen: Counter[str] = Counter()
    handles = []
    for name, module in model.llama.named_modules():
        if isinstance(module, nn.Linear) and name.endswith("proj"):
            count = lambda _, inputs, __, name=name: seen.update({name: inputs[0].shape[-2]})  # noqa: E731
            handles.append(module.register_forward_hook(count))
    executed = model.extend(ids, model.new_cache(len(ids))).executed
    for handle in handles:
        handle.remove()
    return seen, executed


@pytest.mark.parametrize("policy", ["dense", "reuse_last"])
def test_rows_through_every_projection_are_those_of_the_masks(policy: str) -> None:
    seen, executed = rows_through(tiny_model(SkipConfig(kv_policy=policy)), tokens(LENGTH))
    for layer, (attention, ffn) in enumerate(zip(*executed.sum(-1).tolist(), strict=True)):
        place = f"model.layers.{layer}"
        kv = attention if policy == "reuse_last" else LENGTH
        assert seen[f"{place}.self_attn.q_proj"] == seen[f"{place}.self_attn.o_proj"] == attention
        assert seen[f"{place}.self_attn.k_proj"] == seen[f"{place}.self_attn.v_proj"] == kv
        assert seen[f"{place}.mlp.gate_proj"] == seen[f"{place}.mlp.down_proj"] == ffn


def test_reuse_last_stores_executed_entries_and_reads_the_last_executed_layer() -> None:
    model = tiny_model(SkipConfig())
    cache = model.new_cache(LENGTH)
    attention = model.extend(tokens(LENGTH), cache).executed[0]
    assert cache.stored_entries == int(attention.sum())
    for layer in range(model.config.layers):
        for token in range(LENGTH):
            below = [i for i in range(layer + 1) if attention[i, token]]
            assert int(cache.source[layer, token]) == below[-1]


def test_dense_stores_every_token_in_every_layer() -> None:
    model = tiny_model(SkipConfig(kv_policy="dense", always_on_attention=()))
    cache = model.new_cache(LENGTH)
    model.extend(tokens(LENGTH), cache)
    assert cache.stored_entries == LENGTH * model.config.layers
