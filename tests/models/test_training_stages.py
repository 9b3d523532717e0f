"""What the training stages promise: losses, schedules, frozen parameters, LoRA's merge, calibrated rates."""

import copy

import numpy as np
import pytest
import torch
from tiny_model import DECODER, tiny_model

from skipopu.models.calibration import calibrate, sampled_execution, threshold
from skipopu.models.config import SkipConfig
from skipopu.models.evaluation import evaluate, shuffled
from skipopu.models.llama import Llama
from skipopu.models.lora import LoraLinear, LoraSettings, add_lora, merge_lora
from skipopu.models.skipgpt import SkipGPT
from skipopu.models.training import RouterTuning, Schedule, pretrain, sparsity_loss, tune_lora, tune_routers
from skipopu.spec.error import SpecError

SCHEDULE = Schedule(steps=25, batch=4, length=16, learning_rate=1e-2)


def counting(generator: np.random.Generator, size: int, length: int) -> torch.Tensor:
    """Windows that count upwards from a random token."""
    return torch.from_numpy((generator.integers(0, 64, (size, 1)) + np.arange(length + 1)) % 64)


def fresh() -> SkipGPT:
    model = SkipGPT(Llama(DECODER), SkipConfig())
    model.llama.initialize(0)
    model.routers.initialize(0)
    return model


def changed(before: dict[str, torch.Tensor], model: SkipGPT) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_pretraining_learns_a_counting_corpus_and_repeats_exactly() -> None:
    losses = []
    for _ in range(2):
        model, lines = fresh(), []
        pretrain(model.llama, counting, SCHEDULE, lines.append)
        losses.append([line["loss"] for line in lines])
    assert losses[0] == losses[1]
    assert losses[0][-1] < 0.75 * losses[0][0]


def test_router_tuning_changes_routers_only_and_approaches_the_target() -> None:
    model, lines = fresh(), []
    before = copy.deepcopy(model.state_dict())
    schedule = Schedule(steps=40, batch=4, length=16, learning_rate=1e-2)
    tune_routers(model, counting, schedule, RouterTuning(target_skip=0.25), lines.append)
    assert all(name.startswith("routers.") for name in changed(before, model))
    first, last = (
        (line["attention_execution"] + line["ffn_execution"]) / 2 for line in (lines[0], lines[-1])
    )
    assert abs(last - 0.75) < 0.05
    assert abs(last - 0.75) < abs(first - 0.75)
    assert all(p.requires_grad for p in model.parameters())


def test_lora_tuning_changes_its_targets_only() -> None:
    model = fresh()
    before = copy.deepcopy(model.state_dict())
    tune_lora(model, counting, SCHEDULE, LoraSettings(), lambda _: None)
    ends = {name.rsplit(".", 2)[-2] for name in changed(before, model)}
    assert ends == {"q_proj", "v_proj", "gate_proj"}


def test_a_merged_adapter_computes_what_it_did_before() -> None:
    model = tiny_model(SkipConfig())
    ids = torch.arange(10)[None]
    with torch.no_grad():
        plain = model(ids).logits
        add_lora(model.llama, LoraSettings(), seed=0)
        torch.testing.assert_close(model.eval()(ids).logits, plain, rtol=0, atol=0)
        for module in model.modules():
            if isinstance(module, LoraLinear):
                module.up.normal_(0.0, 0.1, generator=torch.Generator().manual_seed(1))
        adapted = model(ids).logits
        merge_lora(model.llama)
        torch.testing.assert_close(model(ids).logits, adapted, rtol=0, atol=1e-12)
    assert not torch.allclose(plain, adapted, atol=1e-3)
    assert not any(isinstance(module, LoraLinear) for module in model.modules())


def test_lora_without_its_targets_is_refused() -> None:
    with pytest.raises(SpecError, match=r"LoRA targets = \('w1',\); the model has none of them"):
        add_lora(fresh().llama, LoraSettings(targets=("w1",)), seed=0)


def test_sparsity_loss_is_the_distance_of_the_module_mean_from_the_target() -> None:
    gates = torch.zeros(2, 4, 1, 10)
    gates[0, :, :, :9] = 1  # attention executes 90 %
    gates[1, :, :, :5] = 1  # FFN executes 50 %
    assert float(sparsity_loss(gates, 0.25)) == pytest.approx(0.05)
    assert float(sparsity_loss(gates, 0.4)) == pytest.approx(0.1)


def test_temperature_falls_linearly_and_the_rate_warms_up() -> None:
    tuning = RouterTuning()
    assert [tuning.temperature(s, 5) for s in range(5)] == [5.0, 4.0, 3.0, 2.0, 1.0]
    schedule = Schedule(steps=100, batch=1, length=1, learning_rate=1.0)
    assert [schedule.rate(s) for s in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert schedule.rate(99) < 0.06


def test_calibration_makes_argmax_execute_what_sampling_did() -> None:
    model, ids = tiny_model(SkipConfig(), seed=2), counting(np.random.default_rng(0), 8, 32)
    wanted = sampled_execution(model, ids, seed=0)
    calibrate(model, ids, wanted)
    with torch.no_grad():
        rates = model(ids).executed.double().flatten(2).mean(-1)
    assert len(wanted) == 2 * DECODER.layers - 1  # attention of layer 0 is always on
    for site, rate in wanted.items():
        assert abs(float(rates[site.module, site.layer]) - rate) < 0.005


def test_threshold_splits_at_the_share() -> None:
    margins = torch.tensor([3.0, 1.0, 2.0, 0.0])
    assert float(threshold(margins, 0.5)) == 1.5
    assert float(threshold(margins, 1.0)) < 0.0
    assert float(threshold(margins, 0.0)) == 2.5  # at least one executes


def test_random_routing_skips_each_module_exactly_as_often_as_learned() -> None:
    model, windows = tiny_model(SkipConfig()), counting(np.random.default_rng(0), 20, 16)
    learned, random = (evaluate(model, windows, routing, seed=1) for routing in ("learned", "random"))
    assert learned.attention_execution == random.attention_execution
    assert learned.ffn_execution == random.ffn_execution
    assert learned.loss != random.loss
    assert random == evaluate(model, windows, "random", seed=1) != evaluate(model, windows, "random", seed=2)
    assert evaluate(model, windows, "dense").skip_rate == 0


def test_shuffling_moves_masks_within_their_module() -> None:
    masks = torch.rand(2, 3, 4, 50, generator=torch.Generator().manual_seed(0)) < 0.3
    moved = shuffled(masks, torch.Generator().manual_seed(1))
    assert torch.equal(masks.flatten(2).sum(-1), moved.flatten(2).sum(-1))
    assert not torch.equal(masks, moved)


def test_an_unknown_routing_is_refused() -> None:
    with pytest.raises(SpecError, match="routing = 'best'; expected one of learned, random, dense"):
        evaluate(fresh(), torch.zeros(1, 5, dtype=torch.long), "best")
