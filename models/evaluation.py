"""Held-out loss of a model under learned, random and no skipping."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from skipopu.models.routing import Argmax, Dense, Prescribed, Rule
from skipopu.models.skipgpt import SkipGPT
from skipopu.spec.error import SpecError

ROUTINGS = ("learned", "random", "dense")
BATCH = 16  # windows at a time: bounds memory, and is the pool within which random routing shuffles


@dataclass(frozen=True)
class Evaluation:
    """Mean cross-entropy in nats per token, and execution rates by layer."""

    loss: float
    attention_execution: tuple[float, ...]
    ffn_execution: tuple[float, ...]

    @property
    def skip_rate(self) -> float:
        """Share of skipped modules over tokens and layers, attention and FFN weighted alike."""
        rates = self.attention_execution + self.ffn_execution
        return 1 - sum(rates) / len(rates)


@torch.inference_mode()
def evaluate(model: SkipGPT, windows: Tensor, routing: str = "learned", seed: int = 0) -> Evaluation:
    """Evaluate on token windows [W, T + 1].

    ``learned`` takes the router's argmax. ``random`` shuffles the learned decisions of every module among the
    tokens, so that each module skips exactly as often as learned. ``dense`` executes everything.
    """
    if routing not in ROUTINGS:
        raise SpecError(f"routing = {routing!r}; expected one of {', '.join(ROUTINGS)}")
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    losses, gates = [], []
    for part in windows.split(BATCH):
        inputs = part[:, :-1]
        output = model(inputs, _rule(model, inputs, routing, generator))
        losses.append(
            functional.cross_entropy(output.logits.flatten(0, 1), part[:, 1:].flatten(), reduction="none")
        )
        gates.append(output.executed.flatten(2))
    rates = torch.cat(gates, dim=-1).double().mean(-1)
    return Evaluation(
        float(torch.cat(losses).double().mean()), tuple(rates[0].tolist()), tuple(rates[1].tolist())
    )


def _rule(model: SkipGPT, inputs: Tensor, routing: str, generator: torch.Generator) -> Rule:
    if routing == "random":
        return Prescribed(shuffled(model(inputs).executed, generator))
    return Dense() if routing == "dense" else Argmax()


def shuffled(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Permute Boolean masks [2, layers, B, T] over B and T, each module by itself; counts stay equal."""
    flat = masks.flatten(2)
    order = torch.rand(flat.shape, generator=generator).argsort(dim=-1).to(flat.device)
    return flat.gather(-1, order).view_as(masks)
