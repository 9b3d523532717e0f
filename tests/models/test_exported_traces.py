"""An exported trace says what the model really routed."""

import numpy as np
import pytest
import torch
from tiny_model import DECODER, tiny_model, tokens

from skipopu.models.config import SkipConfig
from skipopu.models.export import export_trace
from skipopu.models.routing import Argmax, Rule, Sampled
from skipopu.spec.error import SpecError
from skipopu.trace import StepPhase, Trace, read_trace, write_trace

PROMPT, DECODE = 9, 7


def export(skip: SkipConfig, gumbel_seed: int | None = None) -> tuple[Trace, torch.Tensor]:
    """Return a trace, and the masks [2, layers, tokens] of one masked forward pass over the tokens it fed."""
    model = tiny_model(skip)
    prompt = tokens(PROMPT).tolist()
    trace = export_trace(model, prompt, DECODE, name="tiny", source="a test", gumbel_seed=gumbel_seed)
    assert trace.token_ids is not None
    assert trace.token_ids[:PROMPT].tolist() == prompt
    rule: Rule = Argmax() if gumbel_seed is None else Sampled(gumbel_seed)
    with torch.no_grad():
        output = model(torch.from_numpy(trace.token_ids.astype(np.int64))[None], rule)
    chosen = output.logits[0, PROMPT - 1 : -1].argmax(-1).tolist()
    assert trace.token_ids[PROMPT:].tolist() == chosen  # greedy
    return trace, output.executed[:, :, 0]


@pytest.mark.parametrize("policy", ["dense", "reuse_last"])
@pytest.mark.parametrize("gumbel_seed", [None, 3])
def test_rows_are_the_recorded_masks(policy: str, gumbel_seed: int | None) -> None:
    trace, executed = export(SkipConfig(kv_policy=policy), gumbel_seed)
    attention, ffn = executed.numpy()
    np.testing.assert_array_equal(trace.rows("q"), attention)
    np.testing.assert_array_equal(trace.rows("ffn"), ffn)
    np.testing.assert_array_equal(
        trace.rows("kv"), attention if policy == "reuse_last" else np.ones_like(attention)
    )
    assert 0 < trace.summary()["module_skip"] < 1


def test_steps_are_one_prefill_and_single_token_decodes() -> None:
    trace, _ = export(SkipConfig())
    assert trace.steps.phase.tolist() == [StepPhase.PREFILL] + [StepPhase.DECODE] * DECODE
    assert trace.steps.token_count.tolist() == [PROMPT] + [1] * DECODE


def test_kv_sources_are_those_of_the_cache() -> None:
    trace, _ = export(SkipConfig())
    model = tiny_model(SkipConfig())
    cache = model.new_cache(PROMPT + DECODE)
    assert trace.token_ids is not None
    model.extend(torch.from_numpy(trace.token_ids.astype(np.int64)), cache)
    np.testing.assert_array_equal(trace.kv_source_layers(), cache.source.numpy())


def test_the_header_describes_model_and_router(tmp_path: object) -> None:
    skip = SkipConfig(router="mlp", ffn_input="layer_input", always_on_attention=(2, 0), always_on_ffn=(1,))
    header = export(skip, gumbel_seed=3)[0].header
    router, shape = header.router, header.shape.dimensions
    assert (router.kind, router.hidden) == ("mlp", DECODER.hidden_size // 4)
    assert (router.ffn_input, router.sampling) == ("layer_input", "gumbel")
    assert (router.always_on_attention, router.always_on_ffn) == ((0, 2), (1,))
    assert (header.kv_policy, header.provenance.kind, header.provenance.seed) == (
        "reuse_last",
        "trained-tiny",
        3,
    )
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.tied_embeddings) == (4, 2, 8, True)


def test_a_trace_survives_its_file(tmp_path: object) -> None:
    trace, _ = export(SkipConfig())
    write_trace(trace, f"{tmp_path}/t.trace")
    assert read_trace(f"{tmp_path}/t.trace") == trace


def test_a_model_without_routers_exports_a_dense_trace() -> None:
    skip = SkipConfig(router="none", kv_policy="dense", always_on_attention=())
    trace, _ = export(skip)
    assert trace.header.router.kind == "none"
    assert trace.rows("q").all()
    assert trace.rows("ffn").all()


@pytest.mark.parametrize(
    ("prompt", "decode", "message"),
    [
        ([], 1, "prompt has no tokens"),
        ([1], -1, "decode = -1 tokens"),
        ([64], 1, r"prompt token 64; .*0\.\.63"),
    ],
)
def test_bad_requests_are_refused(prompt: list[int], decode: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        export_trace(tiny_model(SkipConfig()), prompt, decode, name="tiny", source="a test")
