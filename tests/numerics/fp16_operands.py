"""Operands that bring out every case: any pattern, subnormals, zeros beside large partners, cancellation."""

from itertools import product

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic

VARIANTS = [
    Arithmetic(*choice, interleave=4)
    for choice in product((22, 15), (False, True), (False, True), (False, True))
]
KINDS = ("any", "finite", "normal", "wide", "subnormal", "sparse", "ends")
Patterns = NDArray[np.uint16]

ENDS = (0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E01, 0xFD00)
patterns = st.one_of(
    st.integers(0, 0xFFFF),
    st.sampled_from(ENDS),
    st.integers(0, 0x3FF),  # subnormals
    st.integers(0x7000, 0x7BFF),  # the largest numbers
    st.integers(0x3C00, 0x3C0F),  # near one: differences cancel
    st.integers(0xBC00, 0xBC0F),
)
int4 = st.integers(-8, 7)


def draw(random: np.random.Generator, kind: str, shape: tuple[int, int]) -> Patterns:
    """FP16 patterns of one kind."""
    normal = random.standard_normal(shape)
    if kind == "any":
        return random.integers(0, 1 << 16, shape).astype(np.uint16)
    if kind == "finite":
        sign = random.integers(0, 2, shape) << 15
        return (random.integers(0, 0x7C00, shape) | sign).astype(np.uint16)
    if kind == "wide":
        normal *= 2.0 ** random.integers(-24, 14, shape)
    if kind == "subnormal":
        normal *= 2.0**-16
    if kind == "sparse":
        normal *= (random.random(shape) < 0.3) * 2.0 ** random.integers(-6, 12, shape)
    found = normal.astype(np.float16).view(np.uint16)
    return random.choice(np.array(ENDS, np.uint16), shape) if kind == "ends" else found


def weights(random: np.random.Generator, kind: str, shape: tuple[int, int]) -> Patterns | NDArray[np.int8]:
    """FP16 patterns, or INT4 values for the kinds "int4" and "int4 sparse"."""
    if not kind.startswith("int4"):
        return draw(random, kind, shape)
    values = random.integers(-8, 8, shape)
    return (values * (random.random(shape) < 0.3) if kind == "int4 sparse" else values).astype(np.int8)


def cancelling(
    random: np.random.Generator, activations: Patterns, weights: NDArray[np.uint16] | NDArray[np.int8]
) -> None:
    """Make the second half of every dot product take back the first, all but its last bits; in place."""
    half = activations.shape[1] // 2
    if weights.dtype == np.int8:
        np.clip(weights, -7, 7, out=weights)
        weights[:, half : 2 * half] = -weights[:, :half]
    else:
        weights[:, half : 2 * half] = weights[:, :half] ^ 0x8000
    noise = random.integers(0, 2, (len(activations), half)).astype(np.uint16)
    activations[:, half : 2 * half] = activations[:, :half] ^ noise
