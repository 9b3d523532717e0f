"""Products a second of `dot_products` on one core, beside NumPy: ``python -m skipopu.numerics.benchmark``."""

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.accuracy import normal_operands
from skipopu.numerics.arithmetic import Arithmetic, arithmetic_of
from skipopu.numerics.conversion import convert
from skipopu.numerics.dot_product import Tree, dot_products, tree_of
from skipopu.numerics.operands import NOTHING, Activations, Weights
from skipopu.spec.number_format import INT4_PRODUCT_BITS
from skipopu.spec.overlay import Overlay

ROWS, COLUMNS = 256, 1024
NUMPY_ROWS = 8  # its temporaries are [rows, columns, S]
REPEATS = 5

Integers = NDArray[np.int64]


def fields(bits: NDArray[np.uint16]) -> tuple[Integers, Integers]:
    """Return signed significands and exponents of finite FP16 numbers."""
    field, fraction = (bits >> 10 & 31).astype(np.int64), (bits & 1023).astype(np.int64)
    significand = np.where(field > 0, fraction + 1024, fraction)
    return np.where(bits >> 15, -significand, significand), np.maximum(field, 1)


def numpy_sums(
    activations: Activations, weights: Weights, tree: Tree, left: int
) -> tuple[Integers, Integers]:
    """Return fixed-point sums [rows, columns] and their exponents, whole arrays of int64 at a time."""
    row, row_exponent = fields(activations)
    if weights.dtype == np.int8:
        column, column_exponent = weights.astype(np.int64) << left, np.zeros(weights.shape, np.int64)
    else:
        column, column_exponent = fields(weights.astype(np.uint16))
    products = row[:, None] * column
    exponents = np.where(products == 0, NOTHING, row_exponent[:, None] + column_exponent)
    largest = exponents.max(axis=2)
    shift = np.minimum(largest[:, :, None] - exponents, 62)
    magnitude = np.abs(products) >> tree.drop
    aligned = (magnitude >> shift) + tree.half * ((shift > 0) & (magnitude >> np.maximum(shift - 1, 0) & 1))
    return np.where(products < 0, -aligned, aligned).sum(axis=2), largest + tree.scale


def rate(products: int, work: Callable[[], object]) -> float:
    """Return products a second, best of a few runs after one that compiles."""
    work()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return products / min(seconds)


def mode_rates(mode: str, arithmetic: Arithmetic, length: int) -> dict[str, float]:
    """Measure kernel and NumPy on the same operands; they must agree in every bit."""
    int4 = mode == "int4"
    activations, weights = normal_operands(ROWS, COLUMNS, length, 0, int4=int4)
    few, tree = activations[:NUMPY_ROWS], tree_of(arithmetic, int4=int4)
    left = arithmetic.product_bits - INT4_PRODUCT_BITS

    def kernel() -> NDArray[np.uint32]:
        return dot_products(activations, weights, arithmetic)

    def numpy() -> NDArray[np.uint32]:
        return convert(*numpy_sums(few, weights, tree, left), arithmetic)

    if not np.array_equal(kernel()[:NUMPY_ROWS], numpy()):
        raise AssertionError(f"{mode}: kernel and NumPy differ")
    products = COLUMNS * length
    return {
        f"{mode} kernel": rate(ROWS * products, kernel),
        f"{mode} numpy int64": rate(NUMPY_ROWS * products, numpy),
    }


def main() -> None:
    """Measure both modes and NumPy in one run."""
    overlay = Overlay.load("skipopu-u280")
    arithmetic, length = arithmetic_of(overlay), overlay.pe_array.dot_length
    rates = mode_rates("fp16", arithmetic, length) | mode_rates("int4", arithmetic, length)
    for name, products in rates.items():
        ratio = products / rates["fp16 kernel"]
        print(f"{name:16} {products / 1e6:8.1f} M products/s  {ratio:7.4f} × fp16 kernel")


if __name__ == "__main__":
    main()
