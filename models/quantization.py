"""Weights as the overlay stores them: symmetric INT4, an FP16 scale for each output channel.

Quantised: all projections and the LM head, which then has weights of its own even where the embedding is tied to it.
Everything else the overlay keeps in FP16. INT4 values are −7 … 7: a value and its negative are both there.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skipopu.models.gptq import Calibration, gptq
from skipopu.models.llama import Llama
from skipopu.models.skipgpt import SkipGPT
from skipopu.numerics.accuracy import INT4_LARGEST
from skipopu.spec.error import SpecError

METHODS = ("rtn", "gptq")
HEAD = "llama.lm_head"
# modules of a layer whose inputs do not depend on each other, in the order in which they run
GROUPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"), ("mlp.down_proj",),
)  # fmt: skip
SHRINKS = tuple(n / 64 for n in range(64, 31, -1))  # candidates for a scale, in units of max |weight| / 7

Reals = NDArray[np.float64]
Int4 = NDArray[np.int8]
Progress = Callable[[int, int], None]  # groups done, all


@dataclass(frozen=True)
class QuantisedMatrix:
    """INT4 ``values`` [outputs, inputs] and ``scales`` [outputs]; a weight is value · scale."""

    values: Int4
    scales: NDArray[np.float16]

    @property
    def weights(self) -> Reals:
        """The weights that both stand for; exact in binary32."""
        return self.values * self.scales.astype(np.float64)[:, None]


@dataclass(frozen=True)
class QuantisedModel:
    """``model`` computes in float32 with the numbers that the overlay stores; ``matrices`` by module name."""

    model: SkipGPT
    matrices: Mapping[str, QuantisedMatrix]
    method: str


def channel_scales(weights: Reals) -> NDArray[np.float16]:
    """Return the scale of each row of ``weights`` that leaves the least sum of squared errors.

    Candidates are max |weight| / 7 and fractions of it down to a half: to clip the largest weights can pay. The scale
    is rounded to FP16 before its error is taken. A row of zeros has scale 1.
    """
    largest = np.abs(weights).max(axis=1)
    best, least = np.ones(len(weights), np.float16), np.full(len(weights), np.inf)
    for shrink in SHRINKS:
        scales = np.where(largest > 0, shrink * largest / INT4_LARGEST, 1).astype(np.float16)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.square(round_to_nearest(weights, scales) * scales.astype(np.float64)[:, None] - weights).sum(1)
        better = (error < least) & (scales > 0) & np.isfinite(scales)
        best[better], least[better] = scales[better], error[better]
    return best


def round_to_nearest(weights: Reals, scales: NDArray[np.float16]) -> Int4:
    """Return weights / scale rounded to the nearest of −7 … 7, ties to even."""
    ratios = np.nan_to_num(weights / scales.astype(np.float64)[:, None])
    return np.clip(np.rint(ratios), -INT4_LARGEST, INT4_LARGEST).astype(np.int8)


def quantise_matrix(weights: Reals, hessian: Reals | None = None) -> QuantisedMatrix:
    """Quantise ``weights`` [outputs, inputs]: to nearest, or by GPTQ where the inputs' ``hessian`` is given.

    Raises SpecError for weights that are not finite.
    """
    if not np.isfinite(weights).all():
        raise SpecError("weights to quantise: infinity or NaN among them; valid: finite weights")
    scales = channel_scales(weights)
    if hessian is None:
        return QuantisedMatrix(round_to_nearest(weights, scales), scales)
    return QuantisedMatrix(gptq(weights, scales, hessian, round_to_nearest), scales)


def quantise(
    model: SkipGPT, method: str, calibration: Tensor | None = None, *, progress: Progress | None = None
) -> QuantisedModel:
    """Quantise a model, one group of matrices after the other; ``model`` is left as it is.

    ``gptq`` needs ``calibration`` token windows [W, T]: each group sees the inputs that the groups before it, already
    quantised, produce, of executed rows only. The result is the same for the same inputs. Raises SpecError for an
    unknown method, for gptq without text, and for weights that are not finite.
    """
    if method not in METHODS:
        raise SpecError(f"method = {method!r}; expected one of {', '.join(METHODS)}")
    if method == "gptq" and calibration is None:
        raise SpecError("method = 'gptq' needs calibration text; give token windows, or method = 'rtn'")
    copy, matrices = as_stored(model), {}
    modules, groups = dict(copy.named_modules()), _groups(model.config.layers)
    reading = Calibration(copy, calibration) if method == "gptq" and calibration is not None else None
    for number, (layer, names) in enumerate(groups):
        group = {name: modules[name] for name in names}
        found = {} if reading is None else reading.hessians(layer, group)
        for name, module in group.items():
            matrices[name] = quantise_matrix(module.weight.detach().double().numpy(), found.get(name))
            _put(module, matrices[name])
        if reading is not None and number + 1 < len(groups) and groups[number + 1][0] > layer:
            reading.advance(layer)
        if progress is not None:
            progress(number + 1, len(groups))
    return QuantisedModel(copy, matrices, method)


def _groups(layers: int) -> list[tuple[int, list[str]]]:
    """(layer, names) in the order in which they run; the LM head stands behind the last layer."""
    found = [(i, [f"llama.model.layers.{i}.{name}" for name in group]) for i in range(layers) for group in GROUPS]
    return [*found, (layers, [HEAD])]


def _put(module: nn.Module, matrix: QuantisedMatrix) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(matrix.weights))


def as_stored(model: SkipGPT) -> SkipGPT:
    """Return a float32 copy on the CPU with all parameters rounded to FP16 and an LM head of its own."""
    config = model.config
    with torch.device("meta"):
        copy = SkipGPT(Llama(replace(config, tied_embeddings=False)), deepcopy(model.skip))
    state = {name: t.detach().to("cpu", torch.float16).float() for name, t in model.state_dict().items()}
    if config.tied_embeddings:
        state[f"{HEAD}.weight"] = state["llama.model.embed_tokens.weight"].clone()
    copy.load_state_dict(state, assign=True)
    copy.eval()
    return copy


def first_layers(model: SkipGPT, layers: int) -> SkipGPT:
    """Return the model cut after its first ``layers``, with the final norm and the LM head; parameters are shared.

    Raises SpecError where the model has fewer.
    """
    have, skip = model.config.layers, model.skip
    if not 1 <= layers <= have:
        raise SpecError(f"layers = {layers}; the model has {have}: must be in 1..{have}")
    attention, ffn = (tuple(n for n in on if n < layers) for on in (skip.always_on_attention, skip.always_on_ffn))
    with torch.device("meta"):
        llama = Llama(replace(model.config, layers=layers))
        cut = SkipGPT(llama, replace(skip, always_on_attention=attention, always_on_ffn=ffn))
    state = model.state_dict()
    cut.load_state_dict({name: state[name] for name in cut.state_dict()}, assign=True)
    cut.eval()
    return cut
