"""How far the PE array's dot products are from exact ones, for every variant of its arithmetic.

Products of FP16 numbers are exact in binary64, and sums of them are rounded once.
"""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.dot_product import dot_products
from skipopu.numerics.operands import Activations, Weights
from skipopu.spec.error import SpecError

Reals = NDArray[np.float64]
INT4_LARGEST = 7  # symmetric quantisation leaves −8 out


@dataclass(frozen=True)
class Accuracy:
    """Errors of one variant over ``dots`` dot products; all dimensionless.

    Relative errors leave out exact zeros; the others are over the sum of the products' magnitudes, which
    cancellation does not make small.
    """

    arithmetic: Arithmetic
    weights: str  # fp16 or int4
    length: int  # products of a dot product
    dots: int
    mean_relative: float  # |error| / |exact|
    max_relative: float
    max_scaled: float  # |error| / Σ|products|
    bias: float  # mean of error / Σ|products|
    shrinkage: float  # mean of −error · sign(exact) / Σ|products|: results too small in magnitude


def variants(interleave: int = 1) -> list[Arithmetic]:
    """Return product width × alignment × output rounding × PSUM format; slots do not enter a single dot."""
    choices = product((22, 15), (False, True), (False, True), (False, True))
    return [Arithmetic(*choice, interleave=interleave) for choice in choices]


def normal_operands(
    rows: int, columns: int, length: int, seed: int, *, int4: bool
) -> tuple[Activations, Weights]:
    """Return standard normal activations [rows, length] and weights [columns, length].

    INT4 weights are the normal ones, `quantised`.
    """
    random = np.random.default_rng(seed)
    activations = random.standard_normal((rows, length)).astype(np.float16).view(np.uint16)
    weights = random.standard_normal((columns, length))
    if not int4:
        return activations, weights.astype(np.float16).view(np.uint16)
    return activations, quantised(weights)


def quantised(weights: Reals) -> NDArray[np.int8]:
    """Return symmetric INT4 weights [columns, length]: over a scale a column that makes the largest ±7, rounded."""
    scale = np.abs(weights).max(axis=1, keepdims=True) / INT4_LARGEST
    return np.rint(weights / np.where(scale > 0, scale, 1)).astype(np.int8)


def measure(activations: Activations, weights: Weights) -> list[Accuracy]:
    """Return a row a variant for all dot products of ``activations`` [M, S] with ``weights`` [N, S].

    Operands as `dot_products` takes them, finite; `SpecError` otherwise.
    """
    left, right = values_of(activations), values_of(weights)
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise SpecError("accuracy of operands with infinity or NaN; valid: finite operands")
    found = [_found(activations, weights, arithmetic) for arithmetic in variants()]
    exact, magnitude = exact_dots(left, right)
    kind = "int4" if weights.dtype == np.int8 else "fp16"
    return [
        _row(arithmetic, kind, left.shape[1], exact_errors(left, right, f), exact, magnitude)
        for arithmetic, f in zip(variants(), found, strict=True)
    ]


def values_of(operands: NDArray[np.uint16] | NDArray[np.int8]) -> Reals:
    """Return FP16 bits (uint16) or INT4 values (int8) as numbers."""
    return (operands.view(np.float16) if operands.dtype == np.uint16 else operands).astype(np.float64)


def exact_dots(left: Reals, right: Reals) -> tuple[Reals, Reals]:
    """Return dot products and sums of magnitudes, [M, N] each, rounded once."""
    found = np.zeros((2, len(left), len(right)))
    for i, row in enumerate(left):
        products = row * right
        found[0, i] = [math.fsum(p) for p in products.tolist()]
        found[1, i] = [math.fsum(p) for p in np.abs(products).tolist()]
    return found[0], found[1]


def exact_errors(left: Reals, right: Reals, found: Reals) -> Reals:
    """Return found − exact, [M, N], rounded once: an error far below the result keeps all its digits."""
    errors = np.zeros(found.shape)
    for i, row in enumerate(left):
        products = (-row * right).tolist()
        errors[i] = [math.fsum([value, *p]) for value, p in zip(found[i].tolist(), products, strict=True)]
    return errors


def _found(activations: Activations, weights: Weights, arithmetic: Arithmetic) -> Reals:
    bits = dot_products(activations, weights, arithmetic)
    found = bits.astype(np.uint16).view(np.float16) if arithmetic.fp16_psum else bits.view(np.float32)
    return found.astype(np.float64)


def _row(
    arithmetic: Arithmetic, weights: str, length: int, error: Reals, exact: Reals, magnitude: Reals
) -> Accuracy:
    nonzero, some = exact != 0, magnitude != 0
    relative = np.abs(error[nonzero] / exact[nonzero])
    scaled = error[some] / magnitude[some]
    return Accuracy(
        arithmetic=arithmetic,
        weights=weights,
        length=length,
        dots=exact.size,
        mean_relative=_mean(relative),
        max_relative=float(relative.max(initial=0)),
        max_scaled=float(np.abs(scaled).max(initial=0)),
        bias=_mean(scaled),
        shrinkage=_mean(-scaled * np.sign(exact[some])),
    )


def _mean(values: Reals) -> float:
    """Mean rounded once, so that no order of the rows changes it; 0 without values."""
    return math.fsum(values.tolist()) / values.size if values.size else 0.0
