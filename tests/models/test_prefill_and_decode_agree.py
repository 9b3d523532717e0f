"""One prefill, any split into chunks, and token-by-token decode are the same computation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import tiny_model, tokens

from skipopu.models.config import SkipConfig
from skipopu.models.routing import Argmax, Dense, Rule, Sampled
from skipopu.models.skipgpt import SkipGPT
from skipopu.spec.error import SpecError

LENGTH = 12
POLICIES = ("dense", "reuse_last")


def in_chunks(
    model: SkipGPT, ids: torch.Tensor, sizes: list[int], rule: Rule
) -> tuple[torch.Tensor, torch.Tensor]:
    cache = model.new_cache(len(ids))
    outputs = [model.extend(part, cache, rule) for part in ids.split(sizes)]
    return torch.cat([o.logits for o in outputs]), torch.cat([o.executed for o in outputs], dim=-1)


@st.composite
def splits(draw: st.DrawFn) -> list[int]:
    cuts = sorted(draw(st.sets(st.integers(1, LENGTH - 1))))
    return [b - a for a, b in zip([0, *cuts], [*cuts, LENGTH], strict=True)]


@settings(max_examples=20, deadline=None)
@given(splits(), st.sampled_from(POLICIES), st.integers(0, 3), st.booleans())
def test_any_split_gives_the_masks_and_logits_of_the_masked_forward_pass(
    sizes: list[int], policy: str, seed: int, sampled: bool
) -> None:
    model, ids = tiny_model(SkipConfig(kv_policy=policy), seed), tokens(LENGTH, seed)
    rule = Sampled(seed) if sampled else Argmax()
    logits, executed = in_chunks(model, ids, sizes, rule)
    with torch.no_grad():
        whole = model(ids[None], rule)
    assert torch.equal(executed, whole.executed[:, :, 0])
    torch.testing.assert_close(logits, whole.logits[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_tiny_model_skips_enough_for_these_tests_to_mean_something(policy: str) -> None:
    _, executed = in_chunks(tiny_model(SkipConfig(kv_policy=policy)), tokens(LENGTH), [LENGTH], Argmax())
    assert 0.2 < float(executed.double().mean()) < 0.9
    assert executed[0, 0].all()


def test_a_fault_in_the_reused_entry_is_seen() -> None:
    model, ids = tiny_model(SkipConfig()), tokens(LENGTH)
    last = []
    for fault in (0.0, 1.0):
        cache = model.new_cache(LENGTH)
        model.extend(ids[:-1], cache)
        reused = (cache.source[-1, : LENGTH - 1] < model.config.layers - 1).nonzero()[0, 0]
        cache.values[cache.source[-1, reused], reused] += fault
        last.append(model.extend(ids[-1:], cache, Dense()).logits)
    assert not torch.allclose(*last, atol=1e-6)


def test_a_full_cache_says_so() -> None:
    model = tiny_model(SkipConfig())
    with pytest.raises(SpecError, match="capacity = 4 tokens; 5 needed"):
        model.extend(tokens(5), model.new_cache(4))
