"""Router biases on a machine whose routers have none: a constant element at the end of the residual stream.

The embedding puts c there and no module changes it: its rows of the output projections and its columns of all other
matrices are zero. Where a router's weight for it is bias / c, the bias joins the logit. RMSNorm sees D + 1 elements:
gamma and ε make up for the other mean and for c², exactly but for one rounding of gamma to FP16; gamma of c is zero.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.program.parameters import Bits, LayerParameters, Linear, ModelParameters, Norm, RouterWeights
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.number_format import FP16

LARGEST = 2.0 ** (FP16.bias + 1) - 2.0 ** (FP16.bias - FP16.fraction_bits)


def with_constant_element(parameters: ModelParameters) -> ModelParameters:
    """Return numbers of D + 1 elements whose linear routers have no biases; unchanged where none has one.

    Raises SpecError where c cannot be small beside ε and bias / c a number of FP16 at once, for LayerNorm, and for
    biases of routers with two layers.
    """
    routers = [r for layer in parameters.layers for r in (layer.attention_router, layer.ffn_router) if r is not None]
    biases = [_real(b) for r in routers for b in (r.last_bias, r.hidden_bias) if b is not None]
    largest = max((float(np.abs(b).max()) for b in biases), default=0.0)
    if not largest:
        return parameters
    width = parameters.shape.dimensions.hidden_size
    if parameters.final_norm.beta is not None or any(r.hidden is not None for r in routers):
        raise SpecError("router biases with LayerNorm or routers of two layers; valid: RMSNorm and linear routers")
    constant = _constant(parameters.epsilon, width, largest)
    return replace(
        parameters,
        shape=_wider(parameters.shape),
        layers=tuple(_layer(layer, width, constant) for layer in parameters.layers),
        embedding=_column(parameters.embedding, constant),
        final_norm=_norm(parameters.final_norm, width),
        lm_head=_inputs(parameters.lm_head),
        epsilon=(parameters.epsilon * width - constant**2) / (width + 1),
    )


def _constant(epsilon: float, width: int, largest: float) -> float:
    """The largest power of two whose square takes at most half of ε · D: bias / c is exact and stays small."""
    found = 2.0 ** math.floor(math.log2(epsilon * width / 2) / 2)
    if largest / found > LARGEST:
        raise SpecError(
            f"router bias {largest:g} over {found:g}, the most that epsilon = {epsilon:g} leaves, is beyond FP16;"
            f" nearest: {found * LARGEST:g}"
        )
    return found


def _wider(shape: ModelShape) -> ModelShape:
    """The shape with an element more; a head's size is its own."""
    leaf, width = shape.provenance["hidden_size"], shape.dimensions.hidden_size + 1
    wide = replace(leaf, value=width, source=f"{leaf.source}; a constant element for router biases")
    dimensions = replace(shape.dimensions, hidden_size=width)
    return ModelShape(shape.name, dimensions, {**shape.provenance, "hidden_size": wide})


def _layer(layer: LayerParameters, width: int, constant: float) -> LayerParameters:
    return replace(
        layer,
        attention_norm=_norm(layer.attention_norm, width), ffn_norm=_norm(layer.ffn_norm, width),
        q=_inputs(layer.q), k=_inputs(layer.k), v=_inputs(layer.v), o=_outputs(layer.o),
        gate=None if layer.gate is None else _inputs(layer.gate), up=_inputs(layer.up), down=_outputs(layer.down),
        attention_router=_router(layer.attention_router, constant), ffn_router=_router(layer.ffn_router, constant),
    )  # fmt: skip


def _router(router: RouterWeights | None, constant: float) -> RouterWeights | None:
    if router is None:
        return None
    bias = np.zeros(2) if router.last_bias is None else _real(router.last_bias)
    return RouterWeights(np.concatenate([router.last, _bits(bias / constant)[:, None]], axis=1))


def _norm(norm: Norm, width: int) -> Norm:
    return Norm(_bits(np.append(_real(norm.gamma) * math.sqrt(width / (width + 1)), 0.0)))


def _inputs(linear: Linear) -> Linear:
    """A column of zeros more."""
    weights: NDArray[Any] = np.pad(linear.weights, ((0, 0), (0, 1)))
    return replace(linear, weights=weights)


def _outputs(linear: Linear) -> Linear:
    """A row of zeros more, with scale 1."""
    weights: NDArray[Any] = np.pad(linear.weights, ((0, 1), (0, 0)))
    bias = None if linear.bias is None else np.append(linear.bias, np.uint16(0))
    return Linear(weights, np.append(linear.scales, _bits(np.ones(1))), bias)


def _column(rows: Bits, value: float) -> Bits:
    return np.concatenate([rows, np.full((len(rows), 1), _bits(np.array([value]))[0], np.uint16)], axis=1)


def _real(bits: Bits) -> NDArray[np.float64]:
    return bits.view(np.float16).astype(np.float64)


def _bits(values: NDArray[np.float64]) -> Bits:
    return values.astype(np.float16).view(np.uint16)
