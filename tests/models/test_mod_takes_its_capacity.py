"""Mixture-of-Depths: top-k of a prompt, which looks ahead; a threshold in decode, which does not."""

import numpy as np
import pytest
import torch
from routed_models import DECODE, PROMPT, backbone, exported, fed, ids, in_steps, mod

from skipopu.models.decisions import Decisions
from skipopu.models.mod import MixtureOfDepths, ModConfig
from skipopu.spec.error import SpecError
from skipopu.trace.family import generate

CAPACITY = int(0.4 * PROMPT)


def scores_of(model: MixtureOfDepths, tokens: torch.Tensor, prompt: int) -> torch.Tensor:
    """What every routed block scored, [blocks, tokens]."""
    seen: dict[str, list[torch.Tensor]] = {key: [] for key in model.scores}
    for key, linear in model.scores.items():
        linear.register_forward_hook(lambda _, __, out, key=key: seen[key].append(out[:, 0]))
    in_steps(model, tokens, prompt)
    return torch.stack([torch.cat(parts) for parts in seen.values()])


def test_a_routed_block_takes_the_highest_scores_of_a_prompt() -> None:
    model, trace = exported("mod")
    assert isinstance(model, MixtureOfDepths)
    scores = scores_of(model, fed(trace), PROMPT)
    for layer, row in zip((1, 3), scores[:, :PROMPT].numpy(), strict=True):
        chosen = np.sort(np.argsort(row)[-CAPACITY:])
        np.testing.assert_array_equal(np.flatnonzero(trace.rows("q")[layer, :PROMPT]), chosen)


def test_a_decoded_token_goes_by_threshold_alone() -> None:
    model, trace = exported("mod")
    assert isinstance(model, MixtureOfDepths)
    scores = scores_of(model, fed(trace), PROMPT)
    over = scores[:, PROMPT:] > model.threshold[[1, 3]][:, None]
    np.testing.assert_array_equal(trace.rows("q")[[1, 3], PROMPT:], over.numpy())


def test_calibration_puts_the_threshold_at_the_cut_of_a_text() -> None:
    model, tokens = mod(), ids(40, 1)
    scores = scores_of(model, tokens, 40).numpy()
    for layer, row in zip((1, 3), scores, strict=True):
        assert (row > float(model.threshold[layer])).sum() == int(0.4 * 40)


def test_every_other_block_takes_every_token() -> None:
    _, trace = exported("mod")
    assert trace.rows("ffn")[[0, 2]].all()
    assert trace.header.router.always_on_attention == (0, 2)


def test_top_k_looks_ahead_so_prefill_and_decode_differ_by_themselves() -> None:
    model, tokens = mod(), ids(PROMPT + DECODE, 3)
    _, at_once = in_steps(model, tokens, PROMPT + DECODE)
    _, steps = in_steps(model, tokens, PROMPT)
    assert not np.array_equal(at_once.recorder.rows("q")[:, :PROMPT], steps.recorder.rows("q")[:, :PROMPT])


def test_told_who_runs_prefill_and_decode_agree() -> None:
    model, trace = exported("mod")
    given = Decisions.of(trace)
    at_once, _ = in_steps(model, fed(trace), PROMPT + DECODE, given)
    one_by_one, _ = in_steps(model, fed(trace), 1, given)
    torch.testing.assert_close(one_by_one, at_once, rtol=0, atol=1e-11)


def test_the_score_multiplies_what_a_block_adds() -> None:
    """With scores of zero the routed blocks add nothing, whoever runs: the model without them."""
    model, tokens = mod(), ids(PROMPT, 2)
    with torch.no_grad():
        for linear in model.scores.values():
            linear.weight.zero_()
    without = backbone()
    without.model.layers = torch.nn.ModuleList([without.model.layers[i] for i in (0, 2)])
    with torch.no_grad():
        expected = without(tokens[None])[0]
    torch.testing.assert_close(in_steps(model, tokens, PROMPT)[0], expected, rtol=0, atol=1e-11)


def test_the_generator_takes_as_many_tokens_of_a_prompt_as_the_model() -> None:
    _, trace = exported("mod")
    made = generate("mod", trace.header.shape, PROMPT, DECODE, knobs=["capacity=0.4"])
    for kind in ("q", "kv", "ffn"):
        counts = [t.rows(kind)[:, :PROMPT].sum(axis=1).tolist() for t in (made, trace)]  # type: ignore[arg-type]
        assert counts[0] == counts[1] == [PROMPT, CAPACITY] * 2
    assert made.header.router == trace.header.router
    assert made.header.kv_policy == trace.header.kv_policy == "evict"


@pytest.mark.parametrize("change", [{"capacity": 0.0}, {"capacity": 1.5}, {"every": 0}])
def test_bad_configurations_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=f"MoD {next(iter(change))}"):
        MixtureOfDepths(backbone(), ModConfig(**change))  # type: ignore[arg-type]
