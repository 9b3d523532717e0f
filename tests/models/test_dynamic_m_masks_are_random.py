"""PruningInferSim's dynamic M: who runs is drawn, whatever the routers say."""

import numpy as np
import pytest
import torch
from routed_models import PROMPT, backbone, exported, fed, ids, in_steps, ready

from skipopu.models.dynamic_m import Bernoulli, DynamicM
from skipopu.models.routing import ATTENTION, FFN, Site
from skipopu.spec.error import SpecError

MANY = 20000


def drawn(rule: Bernoulli, site: Site, tokens: int) -> np.ndarray:
    return rule(site, torch.zeros(tokens, 2), torch.arange(tokens)).numpy()


@pytest.mark.parametrize("module", [ATTENTION, FFN])
def test_rates_are_those_asked_for(module: int) -> None:
    rule = Bernoulli(0.25, 0.5, seed=1)
    rate = 1 - drawn(rule, Site(3, module), MANY).mean()
    assert rate == pytest.approx((0.25, 0.5)[module], abs=5 * (0.25 / MANY) ** 0.5)


def test_draws_of_layers_and_modules_are_independent_and_of_the_seed() -> None:
    one = drawn(Bernoulli(0.5, 0.5, 1), Site(0, ATTENTION), MANY)
    for rule, site in ((1, Site(1, ATTENTION)), (1, Site(0, FFN)), (2, Site(0, ATTENTION))):
        other = drawn(Bernoulli(0.5, 0.5, rule), site, MANY)
        assert (one == other).mean() == pytest.approx(0.5, abs=0.02)


def test_a_token_is_drawn_alike_in_prefill_and_decode() -> None:
    rule, site = Bernoulli(0.5, 0.5), Site(2, FFN)
    whole = drawn(rule, site, 40)
    alone = [bool(rule(site, torch.zeros(1, 2), torch.tensor([t]))) for t in range(40)]
    assert alone == whole.tolist()


def test_the_routers_are_computed_and_ignored() -> None:
    model, trace = exported("dynamic_m")
    assert isinstance(model, DynamicM)
    seen: list[int] = []
    for router in (*model.attention_routers, *model.ffn_routers):
        router.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
        with torch.no_grad():
            router.layers[-1].bias += torch.tensor([-1e6, 1e6])  # would skip everything
    _, run = in_steps(model, fed(trace), PROMPT)
    np.testing.assert_array_equal(run.recorder.rows("q"), trace.rows("q"))
    np.testing.assert_array_equal(run.recorder.rows("ffn"), trace.rows("ffn"))
    assert sum(seen) == 2 * trace.layers * trace.tokens


def test_keys_and_values_are_everyones() -> None:
    assert exported("dynamic_m")[1].rows("kv").all()


def test_no_skipping_is_the_dense_model() -> None:
    model, tokens = ready(DynamicM(backbone(), Bernoulli(0.0, 0.0))), ids(9)
    with torch.inference_mode():
        dense = model.llama(tokens[None])[0]
    torch.testing.assert_close(in_steps(model, tokens, 5)[0], dense, rtol=0, atol=1e-11)


def test_a_rate_out_of_range_is_refused() -> None:
    with pytest.raises(SpecError, match=r"dynamic M ffn_skip = 1\.5; must be in 0\.\.1"):
        Bernoulli(0.1, 1.5)
