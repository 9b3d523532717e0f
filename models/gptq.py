"""GPTQ (Frantar et al., 2023): round weights column by column, and let the columns to come make up for each error.

For a layer with inputs X the squared error of its outputs is quadratic in the weights with Hessian H = Σ x xᵀ. When a
column is rounded, the best change of all later ones follows from the Cholesky factor of H⁻¹.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skipopu.models.routing import Argmax
from skipopu.models.skipgpt import SkipGPT

DAMPING = 0.01  # of the mean diagonal, added to it: H must be regular, and 1 % is what the paper takes
BLOCK = 128  # columns whose later neighbours are corrected one by one; all others once a block

Reals = NDArray[np.float64]
Rounding = Callable[[Reals, NDArray[np.float16]], NDArray[np.int8]]


def gptq(weights: Reals, scales: NDArray[np.float16], hessian: Reals, rounding: Rounding) -> NDArray[np.int8]:
    """Return INT4 values for ``weights`` [outputs, inputs] with given ``scales``; ``hessian`` [inputs, inputs].

    Columns go in the order of falling diagonal of H: those that matter most are rounded before they have taken up
    the errors of others. An input that was always zero says nothing about its weights, which are rounded as they are.
    """
    seen = np.diag(hessian) > 0
    if not seen.any():
        return rounding(weights, scales)
    order = np.argsort(-np.diag(hessian), kind="stable")
    factor = _inverse_factor(hessian[np.ix_(order, order)])
    found = np.empty(weights.shape, np.int8)
    found[:, order] = _rounded(weights[:, order].copy(), scales, factor, rounding)
    return found


def _inverse_factor(hessian: Reals) -> Reals:
    """Upper triangular U with UᵀU = H⁻¹, of the damped H."""
    damped = hessian + DAMPING * np.diag(hessian).mean() * np.eye(len(hessian))
    inverse = np.linalg.inv(damped)
    factor: NDArray[Any] = np.linalg.cholesky((inverse + inverse.T) / 2).T
    return factor


def _rounded(left: Reals, scales: NDArray[np.float16], factor: Reals, rounding: Rounding) -> NDArray[np.int8]:
    """Round the columns of ``left`` from the first to the last, changing those to come in place."""
    found, wide = np.empty(left.shape, np.int8), scales.astype(np.float64)
    for first in range(0, left.shape[1], BLOCK):
        last = min(first + BLOCK, left.shape[1])
        errors = np.empty((len(left), last - first))
        for column in range(first, last):
            found[:, column] = rounding(left[:, column : column + 1], scales)[:, 0]
            error = (left[:, column] - found[:, column] * wide) / factor[column, column]
            left[:, column + 1 : last] -= np.outer(error, factor[column, column + 1 : last])
            errors[:, column - first] = error
        left[:, last:] -= errors @ factor[first:last, last:]
    return found


class Calibration:
    """Token windows [W, T] on their way through a model, layer by layer, each with a K/V cache of its own.

    The model gathers executed rows, so that a skipped row's input does not count.
    """

    def __init__(self, model: SkipGPT, windows: Tensor) -> None:
        self._model = model
        self._caches = [model.new_cache(windows.shape[1]) for _ in windows]
        self._positions = [cache.reserve(windows.shape[1]) for cache in self._caches]
        with torch.inference_mode():
            self._x = [model.llama.model.embed_tokens(window) for window in windows]

    @torch.inference_mode()
    def run(self, index: int) -> list[Tensor]:
        """Return the residual stream of every window behind layer ``index``, or its logits behind the last one."""
        if index == self._model.config.layers:
            return [self._model.llama.logits(x) for x in self._x]
        each = zip(self._x, self._caches, self._positions, strict=True)
        return [self._model.layer(index, x, cache, positions, Argmax())[0] for x, cache, positions in each]

    def advance(self, index: int) -> None:
        """Go behind layer ``index``."""
        self._x = self.run(index)

    def hessians(self, index: int, modules: Mapping[str, nn.Module]) -> dict[str, Reals]:
        """Return Σ x xᵀ over the inputs x of linear layers of layer ``index``, or behind the last one."""
        found = {name: np.zeros((module.in_features,) * 2) for name, module in modules.items()}

        def keep(name: str, _: nn.Module, given: tuple[Tensor, ...]) -> None:
            x = given[0].double().numpy()
            found[name] += x.T @ x

        hooks = [module.register_forward_pre_hook(partial(keep, name)) for name, module in modules.items()]
        try:
            self.run(index)
        finally:
            for hook in hooks:
                hook.remove()
        return found
