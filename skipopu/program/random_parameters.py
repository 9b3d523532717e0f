"""Seeded random numbers for a model: sizes that keep the residual stream finite, no meaning."""

import numpy as np
from numpy.typing import NDArray

from skipopu.program.parameters import (
    Bits,
    LayerParameters,
    Linear,
    ModelParameters,
    Norm,
    RouterWeights,
    linear_shapes,
    rotary_tables,
)
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.router import Router

EPSILON = 1e-5  # Llama-2's
MEAN_SQUARE_INT4 = 21.5  # of −8 … 7


class _Numbers:
    """Draws in one order from one generator."""

    def __init__(self, shape: ModelShape, seed: int, weights: str, lm_head: str) -> None:
        self.shape, self.weights, self.lm_head = shape, weights, lm_head
        self._random = np.random.default_rng(seed)

    def normal(self, *shape: int, size: float = 1.0, mean: float = 0.0) -> Bits:
        """Normal FP16 numbers."""
        found: NDArray[np.float16] = (mean + size * self._random.standard_normal(shape)).astype(np.float16)
        return found.view(np.uint16)

    def linear(self, out: int, inner: int, datatype: str, *, biased: bool) -> Linear:
        """A matrix whose results are about as large as its input."""
        bias = self.normal(out, size=0.1) if biased else None
        if datatype == "fp16":
            return Linear(self.normal(out, inner, size=inner**-0.5), self.normal(out, size=0.05, mean=1.0), bias)
        values = self._random.integers(-8, 8, (out, inner)).astype(np.int8)
        size = (inner * MEAN_SQUARE_INT4) ** -0.5
        return Linear(values, self.normal(out, size=0.05 * size, mean=size), bias)

    def norm(self) -> Norm:
        """Gains about one."""
        d = self.shape.dimensions
        gamma = self.normal(d.hidden_size, size=0.1, mean=1.0)
        return Norm(gamma, self.normal(d.hidden_size, size=0.1) if d.norm == "layer" else None)

    def router(self, router: Router, module: str, layer: int) -> RouterWeights | None:
        """Logits of either order."""
        always = router.always_on_attention if module == "attention" else router.always_on_ffn
        if router.kind == "none" or layer in always:
            return None
        width = self.shape.dimensions.hidden_size
        if router.kind == "linear":
            return RouterWeights(self.normal(2, width))
        return RouterWeights(self.normal(2, router.hidden), self.normal(router.hidden, width, size=width**-0.5))

    def layer(self, router: Router, layer: int) -> LayerParameters:
        """All matrices, norms and routers of a layer."""
        found = {
            name: self.linear(*shape, self.weights, biased=self.shape.biased(name))
            for name, shape in linear_shapes(self.shape).items()
        }
        return LayerParameters(
            attention_norm=self.norm(), ffn_norm=self.norm(),
            attention_router=self.router(router, "attention", layer), ffn_router=self.router(router, "ffn", layer),
            q=found["q"], k=found["k"], v=found["v"], o=found["o"], gate=found.get("gate"), up=found["up"],
            down=found["down"],
        )  # fmt: skip


def random_parameters(
    shape: ModelShape, router: Router, tokens: int, seed: int = 0, weights: str = "int4", lm_head: str = "int4"
) -> ModelParameters:
    """Return numbers for a model of ``shape`` with routers, RoPE for ``tokens``; ``weights`` as in an overlay."""
    d, n = shape.dimensions, _Numbers(shape, seed, weights, lm_head)
    cosines, sines = rotary_tables(shape, tokens) if shape.rotary else (None, None)
    return ModelParameters(
        shape, tuple(n.layer(router, layer) for layer in range(d.layers)),
        n.normal(d.vocabulary, d.hidden_size), n.norm(),
        n.linear(d.vocabulary, d.hidden_size, lm_head, biased=False), EPSILON, cosines, sines,
        None if shape.rotary else n.normal(d.learned_positions, d.hidden_size, size=0.1),
    )  # fmt: skip
