"""From sampled to argmax routing at an unchanged skip rate.

Stage 1 samples: a module executes with probability sigmoid(logit 0 − logit 1). Argmax would turn a
probability of 0.7 for every token into "always". Calibration shifts each router's bias so that argmax
executes the same share of tokens as sampling did, those with the largest margin. (Our addition; SkipGPT's
public code keeps sampling instead.)
"""

import torch
from torch import Tensor

from skipopu.models.routing import ATTENTION, FFN, Argmax, Recorded, Rule, Site, StraightThrough
from skipopu.models.skipgpt import SkipGPT


@torch.inference_mode()
def sampled_execution(model: SkipGPT, tokens: Tensor, seed: int) -> dict[Site, float]:
    """Return each routed module's mean probability of execution when sampling on ``tokens`` [B, T]."""
    recorded = _run(model, tokens, StraightThrough(torch.Generator().manual_seed(seed)))
    return {site: float(torch.sigmoid(margin(logits)).mean()) for site, logits in recorded.items()}


@torch.inference_mode()
def calibrate(model: SkipGPT, tokens: Tensor, execution: dict[Site, float]) -> None:
    """Shift router biases in place until argmax on ``tokens`` [B, T] executes the given shares.

    Modules are taken in execution order because a decision changes what later routers read.
    """
    for site in sorted(execution):
        margins = margin(_run(model, tokens, Argmax())[site]).flatten()
        routers = {ATTENTION: model.routers.attention, FFN: model.routers.ffn}[site.module]
        routers[site.layer].shift(-float(threshold(margins, execution[site])))


def threshold(margins: Tensor, share: float) -> Tensor:
    """Return the margin that ``share`` of ``margins`` [N] reach.

    It lies midway to the next one below, so that rounding in storage changes few decisions.
    """
    ordered = margins.double().sort(descending=True).values
    count = min(max(round(share * len(ordered)), 1), len(ordered))
    below = ordered[count] if count < len(ordered) else ordered[-1] - 2.0
    return (ordered[count - 1] + below) / 2


def margin(logits: Tensor) -> Tensor:
    """Return logit 0 − logit 1: positive executes."""
    return logits[..., 0] - logits[..., 1]


def _run(model: SkipGPT, tokens: Tensor, rule: Rule) -> dict[Site, Tensor]:
    recorded = Recorded(rule)
    model.eval()
    model(tokens, recorded)
    return recorded.logits
