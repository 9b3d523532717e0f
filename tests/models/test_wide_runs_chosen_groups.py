"""WIDE: a token computes the groups it chose, and no others; K and V are everyone's."""

import numpy as np
import pytest
import torch
from routed_models import DECODER, PROMPT, backbone, exported, fed, in_steps, ready

from skipopu.models.decisions import Decisions
from skipopu.models.wide import Wide, WideConfig
from skipopu.spec.error import SpecError


def test_a_row_runs_where_one_of_its_groups_does() -> None:
    _, trace = exported("wide")
    heads, channels = trace.array("head_groups"), trace.array("ffn_groups")
    assert heads is not None
    assert channels is not None
    assert heads.shape[2] == DECODER.kv_heads
    assert channels.shape[2] == DECODER.intermediate_size // 8
    np.testing.assert_array_equal(heads.any(axis=2), trace.rows("q"))
    np.testing.assert_array_equal(channels.any(axis=2), trace.rows("ffn"))
    assert 0 < heads.mean() < 1
    assert 0 < channels.mean() < 1


def test_every_token_keeps_its_keys_and_values() -> None:
    model, trace = exported("wide")
    _, run = in_steps(model, fed(trace), PROMPT)
    assert trace.rows("kv").all()
    assert [run.cache.stored(layer) for layer in range(trace.layers)] == [trace.tokens] * trace.layers


def test_all_groups_make_the_dense_model_and_none_the_embedding_alone() -> None:
    model, trace = exported("wide")
    tokens, shape = fed(trace), (trace.layers, trace.tokens)
    for on in (True, False):
        bits = {"head_groups": np.full((*shape, 2), on), "ffn_groups": np.full((*shape, 6), on)}
        logits, _ = in_steps(model, tokens, PROMPT, Decisions(bits))
        with torch.inference_mode():
            dense = model.llama(tokens[None])[0]
            empty = model.llama.logits(model.llama.model.embed_tokens(tokens))
        torch.testing.assert_close(logits, dense if on else empty, rtol=0, atol=1e-11)


def test_groups_of_one_router_are_decided_by_themselves() -> None:
    """A tie made by hand in one group executes it and leaves the others' logits."""
    model = ready(Wide(backbone(), WideConfig(4, 1, 8)))
    x = torch.randn(9, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    router = model.ffn_routers[0]
    before = router(x).unflatten(-1, (-1, 2))
    with torch.no_grad():
        router[1].weight[2 * 3 + 1] = 0.0
        router[1].weight[2 * 3] = 0.0
    after = router(x).unflatten(-1, (-1, 2))
    assert (after[:, 3, 0] >= after[:, 3, 1]).all()
    others = [group for group in range(6) if group != 3]
    torch.testing.assert_close(after[:, others], before[:, others], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (WideConfig(4, 3, 8), "WIDE group of 3; must divide kv_heads = 2; nearest: 2"),
        (WideConfig(4, 1, 10), "WIDE group of 10; must divide intermediate_size = 48; nearest: 8"),
    ],
)
def test_groups_that_do_not_divide_are_refused(config: WideConfig, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Wide(backbone(), config)
