"""The overlay's numerics against PyTorch, layer by layer, in three steps that each change one thing.

float16 against float32: PyTorch's own arithmetic. int4 against float32: quantisation, both in float32. overlay against
int4: the overlay's arithmetic, both with the same INT4 weights. A flipped decision of a router changes a whole row, so
that every step is taken twice: each model with its own decisions, and with those of the model it is compared with.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from skipopu.models.overlay_parameters import header_of, overlay_parameters
from skipopu.models.quantization import QuantisedModel
from skipopu.models.routing import ATTENTION, FFN
from skipopu.models.skipgpt import SkipGPT
from skipopu.models.verification_runs import Bools, Done, Run, overlay_run, torch_run
from skipopu.program.constant_element import with_constant_element
from skipopu.program.numerical_run import routing_of
from skipopu.spec.overlay import Overlay

STEPS = (("float16", "float32"), ("int4", "float32"), ("overlay", "int4"))  # name, what it is compared with

Progress = Callable[[int, int], None]
Runner = Callable[[Bools | None, Done], Run]


@dataclass(frozen=True)
class Comparison:
    """How far a run is from another on the same tokens; lists by layer, None where the layer has no router."""

    hidden_error: list[float]  # behind each layer: |difference| / |reference|, both Euclidean over all tokens
    attention_agreement: list[float | None]  # share of tokens whose decision is that of the reference
    ffn_agreement: list[float | None]
    logits_error: float  # as hidden_error
    top_1_agreement: float


@dataclass(frozen=True)
class Verification:
    """Runs of one model on one text, by name, ``forced`` ones under the decisions of what they are compared with."""

    free: Mapping[str, Run]
    forced: Mapping[str, Run]
    targets: NDArray[np.int64]  # [T], the token that follows
    routed: Bools  # [2, layers]
    rtl: Mapping[str, Any] | None = field(default=None)

    @property
    def finite(self) -> bool:
        """Whether all logits are numbers."""
        return all(np.isfinite(run.logits).all() for run in (*self.free.values(), *self.forced.values()))

    def record(self) -> dict[str, Any]:
        """Return losses and comparisons as plain values."""
        found = {
            "loss": {name: loss(run, self.targets) for name, run in self.free.items()},
            "forced_loss": {name: loss(run, self.targets) for name, run in self.forced.items()},
            "execution": {
                name: {"attention": _rates(run, ATTENTION), "ffn": _rates(run, FFN)} for name, run in self.free.items()
            },
            "steps": [
                {
                    "run": name, "reference": reference,
                    "own_routing": vars(compare(self.free[name], self.free[reference], self.routed)),
                    "forced_routing": vars(compare(self.forced[name], self.free[reference], self.routed)),
                }
                for name, reference in STEPS
            ],
        }  # fmt: skip
        return found if self.rtl is None else {**found, "rtl": dict(self.rtl)}


def verify(
    model: SkipGPT, quantised: QuantisedModel, overlay: Overlay, windows: Tensor, decode: int, *,
    device: str = "cpu", progress: Progress | None = None,
) -> Verification:  # fmt: skip
    """Compare on token windows [W, T + 1]; the overlay decodes the last ``decode`` of T tokens one by one."""
    inputs, targets = windows[:, :-1], windows[:, 1:].flatten().numpy()
    runners = _runners(model, quantised, overlay, inputs, decode, device)
    done, total = 0, (len(runners) + len(STEPS)) * len(inputs)

    def after_window() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    free = {name: runner(None, after_window) for name, runner in runners.items()}
    forced = {name: runners[name](free[reference].executed, after_window) for name, reference in STEPS}
    return Verification(free, forced, targets, _routed(model))


def _runners(
    model: SkipGPT, quantised: QuantisedModel, overlay: Overlay, inputs: Tensor, decode: int, device: str
) -> dict[str, Runner]:
    numbers = overlay_parameters(quantised, inputs.shape[1], name="model", source="verify")
    parameters = with_constant_element(numbers)
    routing = routing_of(header_of(model, name="model", source="verify"))
    models = {
        "float32": deepcopy(model).float(), "float16": deepcopy(model).half(), "int4": deepcopy(quantised.model),
    }  # fmt: skip

    def run_torch(name: str) -> Runner:
        placed = models[name].to(torch.device(device)).eval()
        return lambda forced, done: torch_run(placed, inputs, forced, done)

    def run_overlay(forced: Bools | None, done: Done) -> Run:
        found = overlay_run(overlay, parameters, routing, inputs, decode, forced, done)
        return replace(found, hidden=found.hidden[..., : model.config.hidden_size])

    return {**{name: run_torch(name) for name in models}, "overlay": run_overlay}


def _routed(model: SkipGPT) -> Bools:
    """Which modules have a router that is asked."""
    always = (model.skip.always_on_attention, model.skip.always_on_ffn)
    rows = [[model.skip.router != "none" and n not in on for n in range(model.config.layers)] for on in always]
    return np.array(rows)


def compare(run: Run, reference: Run, routed: Bools) -> Comparison:
    """Compare what ``run`` decided with what ``reference`` executed, and their numbers."""
    agreement = [
        [float(same.mean()) if asked else None for same, asked in zip(module, routed[index], strict=True)]
        for index, module in enumerate(run.decided == reference.executed)
    ]
    pairs = zip(run.hidden[1:], reference.hidden[1:], strict=True)
    same_token = run.logits.argmax(-1) == reference.logits.argmax(-1)
    return Comparison(
        [relative_error(a, b) for a, b in pairs], agreement[ATTENTION], agreement[FFN],
        relative_error(run.logits, reference.logits), float(same_token.mean()),
    )  # fmt: skip


def relative_error(found: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Return |found − reference| / |reference|, both Euclidean."""
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def loss(run: Run, targets: NDArray[np.int64]) -> float:
    """Return the mean cross-entropy in nats per token."""
    return float(functional.cross_entropy(torch.from_numpy(run.logits), torch.from_numpy(targets)))


def _rates(run: Run, module: int) -> list[float]:
    return [float(rate) for rate in run.executed[module].mean(-1)]


def compare_rtl(numerics: NDArray[np.uint16], rtl: NDArray[np.uint16]) -> dict[str, Any]:
    """Compare logits that the RTL wrote with those of the numerics, [steps, vocabulary] FP16 bits, bit by bit.

    The result is `Verification.rtl`: steps, logits, differing logits and the first one that differs.
    """
    differing = np.argwhere(numerics != rtl)
    first = [int(n) for n in differing[0]] if len(differing) else None
    return {"steps": len(rtl), "logits": int(rtl.size), "differing": len(differing), "first": first}
