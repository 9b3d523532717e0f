"""Language-model pre-training, stage 1 (routers), stage 2 (LoRA), each a seeded run of fixed length."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from skipopu.models.llama import Llama
from skipopu.models.lora import LoraSettings, add_lora, merge_lora
from skipopu.models.routing import Argmax, StraightThrough
from skipopu.models.skipgpt import SkipGPT

Batches = Callable[[np.random.Generator, int, int], Tensor]
Log = Callable[[Mapping[str, object]], None]

WARM_UP = 0.1  # share of the steps with rising learning rate (SkipGPT's README)
FINAL_RATE = 0.05  # of the peak learning rate, at the end of the cosine
CLIP = 1.0  # gradient norm
LOG_EVERY = 10  # steps in one line of the log


@dataclass(frozen=True)
class Schedule:
    """Length and optimiser of one stage: ``batch`` windows of ``length`` tokens a step, AdamW, cosine."""

    steps: int
    batch: int
    length: int
    learning_rate: float
    weight_decay: float = 0.01
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate at ``step``: linear warm-up, then a cosine down to ``FINAL_RATE`` of the peak."""
        warm = max(1, round(WARM_UP * self.steps))
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.steps - warm)
        return self.learning_rate * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class RouterTuning:
    """Stage 1 of SkipGPT (models.md §1): α is 20 in its code, 8 in its paper; temperature 5 → 1, linear."""

    target_skip: float = 0.25
    alpha: float = 20.0
    first_temperature: float = 5.0
    last_temperature: float = 1.0

    def temperature(self, step: int, steps: int) -> float:
        """Temperature of the Gumbel-softmax at ``step`` of ``steps``."""
        share = step / max(1, steps - 1)
        return self.first_temperature + share * (self.last_temperature - self.first_temperature)


def pretrain(llama: Llama, batches: Batches, schedule: Schedule, log: Log) -> None:
    """Train every parameter of the dense model on the next-token loss."""

    def loss_of(batch: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:  # noqa: ARG001
        loss = next_token_loss(llama(batch[:, :-1]), batch)
        return loss, {"loss": float(loss.detach())}

    with _training(llama, list(llama.parameters()), schedule.seed):
        _fit("pretraining", list(llama.parameters()), loss_of, batches, schedule, log)


def tune_routers(
    model: SkipGPT, batches: Batches, schedule: Schedule, tuning: RouterTuning, log: Log
) -> None:
    """Stage 1: train the routers only, sampling by Gumbel-softmax, towards ``tuning.target_skip``."""
    rule = StraightThrough(torch.Generator().manual_seed(schedule.seed))

    def loss_of(batch: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:
        rule.temperature = tuning.temperature(step, schedule.steps)
        output = model(batch[:, :-1], rule)
        loss = next_token_loss(output.logits, batch)
        facts = {"loss": float(loss.detach()), "temperature": rule.temperature, **_execution(output.gates)}
        return loss + tuning.alpha * sparsity_loss(output.gates, tuning.target_skip), facts

    routers = list(model.routers.parameters())
    with _training(model, routers, schedule.seed):
        _fit("router tuning", routers, loss_of, batches, schedule, log)


def tune_lora(model: SkipGPT, batches: Batches, schedule: Schedule, settings: LoraSettings, log: Log) -> None:
    """Stage 2: train low-rank adapters under the routers' argmax decisions, then merge them."""

    def loss_of(batch: Tensor, step: int) -> tuple[Tensor, dict[str, float]]:  # noqa: ARG001
        output = model(batch[:, :-1], Argmax())
        loss = next_token_loss(output.logits, batch)
        return loss, {"loss": float(loss.detach()), **_execution(output.gates)}

    adapters = add_lora(model.llama, settings, schedule.seed)
    with _training(model, adapters, schedule.seed):
        _fit("lora", adapters, loss_of, batches, schedule, log)
    merge_lora(model.llama)


def next_token_loss(logits: Tensor, windows: Tensor) -> Tensor:
    """Mean cross-entropy, nats per token, of logits [B, T, V] against windows [B, T + 1]."""
    return functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def sparsity_loss(gates: Tensor, target_skip: float) -> Tensor:
    """|(1 − T) − ½ (mean attention execution + mean FFN execution)| for gates [2, layers, ...]."""
    return ((1 - target_skip) - 0.5 * (gates[0].mean() + gates[1].mean())).abs()


def _execution(gates: Tensor) -> dict[str, float]:
    rates = gates.detach().float().flatten(1).mean(-1)
    return {"attention_execution": float(rates[0]), "ffn_execution": float(rates[1])}


@contextmanager
def _training(model: nn.Module, trained: list[nn.Parameter], seed: int) -> Iterator[None]:
    """Make only ``trained`` trainable, seed dropout, and put everything back afterwards."""
    before = [(p, p.requires_grad) for p in model.parameters()]
    for parameter, _ in before:
        parameter.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    model.train()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        model.eval()
        for parameter, flag in before:
            parameter.requires_grad_(flag)


def _fit(
    stage: str,
    parameters: list[nn.Parameter],
    loss_of: Callable[[Tensor, int], tuple[Tensor, dict[str, float]]],
    batches: Batches,
    schedule: Schedule,
    log: Log,
) -> None:
    """Run the optimiser; log the mean of every ``LOG_EVERY`` steps."""
    decay = [p for p in parameters if p.dim() > 1]
    plain = [p for p in parameters if p.dim() <= 1]  # norms and biases are not decayed
    groups = [
        {"params": decay, "weight_decay": schedule.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=schedule.learning_rate, betas=(0.9, 0.95)
    )
    generator = np.random.default_rng(schedule.seed)
    recent: list[dict[str, float]] = []
    for step in range(schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        loss, facts = loss_of(batches(generator, schedule.batch, schedule.length), step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        recent.append(facts)
        if len(recent) == LOG_EVERY or step + 1 == schedule.steps:
            log(_line(stage, step + 1, schedule.rate(step), recent))
            recent.clear()


def _line(stage: str, step: int, rate: float, recent: list[dict[str, float]]) -> dict[str, object]:
    means = {key: round(sum(facts[key] for facts in recent) / len(recent), 5) for key in recent[0]}
    return {"stage": stage, "step": step, "learning_rate": float(f"{rate:.4g}"), **means}
