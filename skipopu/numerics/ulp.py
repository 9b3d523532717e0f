"""Errors of the NPE's functions on all FP16 inputs, against extended precision: ``python -m skipopu.numerics.ulp``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.exponential import exponentials
from skipopu.numerics.gelu import CUBIC, gelus
from skipopu.numerics.reciprocal import reciprocal_roots, reciprocals
from skipopu.numerics.silu import silus
from skipopu.spec.number_format import FP16

Bits = NDArray[np.uint16]
Reals = NDArray[np.longdouble]
ALL: Bits = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
LEAST_NORMAL = 2.0 ** (1 - FP16.bias)
OVERFLOW = 2.0**FP16.bias * (2 - 2.0**-FP16.significand_bits)  # and beyond: rounded to infinity


def numbers(bits: Bits) -> Reals:
    """FP16 bits as extended numbers."""
    with np.errstate(invalid="ignore"):
        return bits.view(np.float16).astype(np.longdouble)


def ulps(found: Bits, exact: Reals) -> Reals:
    """|found − exact| in units of the last place that ``exact`` has in FP16; 0 where both overflow."""
    with np.errstate(all="ignore"):
        binade = np.floor(np.log2(np.maximum(np.abs(exact), LEAST_NORMAL)))
        distance = np.abs(numbers(found) - exact) / np.exp2(binade - FP16.fraction_bits)
    same_sign = np.signbit(numbers(found)) == np.signbit(exact)
    overflows = (np.abs(exact) >= OVERFLOW) & np.isinf(numbers(found)) & same_sign
    return np.where(overflows, 0, distance).astype(np.longdouble)


def silu(x: Reals) -> Any:
    """x · σ(x)."""
    return x / (1 + np.exp(-x))


def gelu(x: Reals) -> Any:
    """GELU in its tanh form."""
    inner = x + np.longdouble(str(CUBIC)) * x**3
    return x / (1 + np.exp(-2 * np.sqrt(2 / np.longdouble(np.pi)) * inner))


FUNCTIONS: dict[str, tuple[Callable[[Bits], Bits], Callable[[Any], Any]]] = {
    "exponential": (exponentials, np.exp),
    "reciprocal": (reciprocals, lambda x: 1 / x),
    "reciprocal root": (reciprocal_roots, lambda x: 1 / np.sqrt(x)),
    "SiLU": (silus, silu),
    "GELU": (gelus, gelu),
}


@dataclass(frozen=True)
class Error:
    """Largest error of a function."""

    inputs: int  # finite ones for which it has a value
    ulps: float
    at: float


def largest_error(name: str) -> Error:
    """Try every finite FP16 number."""
    ours, exact = FUNCTIONS[name]
    finite = ALL[np.isfinite(numbers(ALL))]
    with np.errstate(all="ignore"):
        expected = exact(numbers(finite))
    defined = ~np.isnan(expected)
    errors = np.where(defined, ulps(ours(finite), expected), 0)
    worst = int(errors.argmax())
    return Error(int(defined.sum()), float(errors[worst]), float(numbers(finite)[worst]))


def main() -> None:
    """Print a line a function."""
    print(f"{'function':16}  {'inputs':>6}  {'largest error':>13}  at")
    for name in FUNCTIONS:
        error = largest_error(name)
        print(f"{name:16}  {error.inputs:6,}  {error.ulps:9.4f} ULP  {error.at:g}")


if __name__ == "__main__":
    main()
