"""D-LLM: a token runs a layer whole or leaves nothing there, not even K/V."""

import numpy as np
import pytest
import torch
from routed_models import CAUSAL, PROMPT, backbone, exported, fed, in_steps

from skipopu.models.decisions import Decisions
from skipopu.models.dllm import Dllm, DllmConfig, DllmRouter
from skipopu.models.run import Run
from skipopu.spec.error import SpecError
from skipopu.trace import keys_per_query


def test_a_layer_runs_whole_or_not_at_all() -> None:
    _, trace = exported("dllm")
    runs = trace.rows("q")
    np.testing.assert_array_equal(trace.rows("kv"), runs)
    np.testing.assert_array_equal(trace.rows("ffn"), runs)
    assert runs[:2].all()  # the first layers
    assert runs[:, :2].all()  # the first tokens
    assert 0 < runs[2:, 2:].mean() < 1


def test_the_cache_holds_executed_entries_and_queries_see_no_others() -> None:
    model, trace = exported("dllm")
    _, run = in_steps(model, fed(trace), PROMPT)
    runs = trace.rows("q")
    for layer in range(trace.layers):
        assert run.cache.stored(layer) == runs[layer].sum()
    np.testing.assert_array_equal(keys_per_query(trace)[runs], np.cumsum(runs, axis=1)[runs])


def test_a_skipped_token_does_not_touch_later_ones_in_its_layer() -> None:
    """In the last layer a token that skips is invisible: whatever its stream, the others' rows stay."""
    model, trace = exported("dllm")
    last = trace.layers - 1
    gone = int(np.flatnonzero(~trace.rows("q")[last])[0])
    x = torch.randn(trace.tokens, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def layer(stream: torch.Tensor) -> torch.Tensor:
        return model.executed_layer(last, stream, torch.arange(trace.tokens), Run(trace.layers, Decisions.of(trace)))

    changed = x.clone()
    changed[gone] += 1.0
    others = torch.arange(trace.tokens) != gone
    torch.testing.assert_close(layer(changed)[others], layer(x)[others], rtol=0, atol=0)
    torch.testing.assert_close(layer(x)[gone], x[gone], rtol=0, atol=0)


def test_the_router_is_512_wide_as_published() -> None:
    router = DllmRouter(4096, DllmConfig().hidden, 1e-6)
    matrices = [p.numel() for p in router.parameters() if p.dim() == 2]
    assert matrices == [4096 * 512, 512 * 2]


def test_the_header_says_what_is_shared_and_always_on() -> None:
    router = exported("dllm")[1].header.router
    assert (router.kind, router.hidden, router.shared) == ("mlp", 12, True)
    assert (router.always_on_attention, router.always_on_ffn, router.always_on_tokens) == ((0, 1), (0, 1), 2)


def test_weights_are_a_function_of_the_seed() -> None:
    one, other = (CAUSAL["dllm"][0](5).state_dict() for _ in range(2))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("change", [{"hidden": 0}, {"start_layer": 0}, {"reserved_tokens": -1}])
def test_bad_configurations_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=f"D-LLM {next(iter(change))}"):
        Dllm(backbone(), DllmConfig(**change))
