"""A whole matrix product through the PE array: K-tiles, partial sums, weight scales."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.dot_product import dot_products
from skipopu.numerics.floating_point import FP16, FP32, bits_of
from skipopu.numerics.jit import jit
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.operands import Activations, Weights
from skipopu.numerics.psum import add_tile, drain
from skipopu.spec.error import SpecError

Scales = NDArray[np.uint16]


def matmul(
    activations: Activations,
    weights: Weights,
    arithmetic: Arithmetic,
    dot_length: int,
    scales: Scales | None = None,
    group: int | None = None,
) -> NDArray[np.float32]:
    """Return activations · weightsᵀ, [M, N].

    ``activations`` [M, K] FP16 bits; ``weights`` [N, K] FP16 bits or INT4 values (int8); K is padded with
    zeros to a multiple of ``dot_length``. ``scales``, FP16 bits: [N], multiplied with the result, or, with
    ``group`` (a multiple of ``dot_length``), [⌈K / group⌉, N], multiplied with each K-tile before it is
    accumulated. Both products are rounded to nearest even in FP32. `SpecError` for what cannot be computed.
    """
    depth = -(-activations.shape[1] // dot_length)
    _check(activations, weights, arithmetic, dot_length, scales, group)
    entries = np.zeros((len(activations), min(arithmetic.interleave, depth), len(weights)), np.uint32)
    for tile in range(depth):
        span = slice(tile * dot_length, (tile + 1) * dot_length)
        rows, columns = _padded(activations[:, span], dot_length), _padded(weights[:, span], dot_length)
        dots = dot_products(rows, columns, arithmetic)
        if scales is not None and group is not None:
            _scale_columns(dots, np.ascontiguousarray(scales[tile * dot_length // group]))
        add_tile(dots, tile, entries, arithmetic)
    sums = drain(entries, arithmetic)
    if scales is not None and group is None:
        _scale_columns(sums, np.ascontiguousarray(scales))
    return sums.view(np.float32)


def _check(
    activations: Activations, weights: Weights, arithmetic: Arithmetic, length: int,
    scales: Scales | None, group: int | None,
) -> None:  # fmt: skip
    if activations.ndim != 2 or weights.ndim != 2 or activations.shape[1] != weights.shape[1]:
        raise SpecError(
            f"matrix product of {activations.shape} and {weights.shape}; valid: [M, K] and [N, K]"
        )
    if activations.shape[1] == 0:
        raise SpecError("matrix product with K = 0; valid: 1 or more")
    if group is None:
        valid: tuple[int, ...] = (len(weights),)
    elif scales is None:
        raise SpecError(f"group = {group} without scales; valid: scales [⌈K / group⌉, N]")
    else:
        _check_group(arithmetic, length, group)
        valid = (-(-activations.shape[1] // group), len(weights))
    if scales is not None and (scales.shape != valid or scales.dtype != np.uint16):
        raise SpecError(f"scales {scales.dtype} {scales.shape}; valid: uint16 (FP16 bits) {valid}")


def _check_group(arithmetic: Arithmetic, length: int, group: int) -> None:
    if group <= 0 or group % length:
        raise SpecError(f"group = {group}; valid: a multiple of dot_length = {length}")
    if arithmetic.fp16_psum:
        raise SpecError("group scales with psum.format = fp16; valid: fp32, or group = None")


def _padded(operands: Any, length: int) -> Any:
    """Zeros behind the last columns of a shorter tile."""
    missing = length - operands.shape[1]
    return np.pad(operands, ((0, 0), (0, missing))) if missing else operands


@jit
def _scale_columns(values: Any, scales: Any) -> None:
    """Multiply FP32 ``values`` [rows, columns] with FP16 ``scales`` [columns], in place."""
    for row in range(values.shape[0]):
        for column in range(values.shape[1]):
            value, scale = bits_of(values[row, column]), bits_of(scales[column])
            values[row, column] = multiply(value, FP32, scale, FP16, FP32)
