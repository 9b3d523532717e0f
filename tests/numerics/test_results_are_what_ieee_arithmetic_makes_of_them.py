"""Rotation, SwiGLU, residual, routing: bit for bit what the processor's float32 and float16 give."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from skipopu.numerics.narrowing import add_residuals, scaled
from skipopu.numerics.rotary import rotate
from skipopu.numerics.router import executed
from skipopu.numerics.silu import silus
from skipopu.numerics.swiglu import swiglu

Bits = NDArray[np.uint16]
COUNT = 200_000


def fp16(random: np.random.Generator, shape: Any) -> Bits:
    return random.integers(0, 1 << 16, shape, dtype=np.uint32).astype(np.uint16)


def wide(bits: Bits) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        return bits.view(np.float16).astype(np.float32)


def same(found: Bits, expected: NDArray[np.float32]) -> bool:
    with np.errstate(all="ignore"):
        rounded = expected.astype(np.float16)
    return bool(np.array_equal(found, np.where(np.isnan(rounded), 0x7E00, rounded.view(np.uint16))))


@pytest.mark.parametrize("seed", range(3))
def test_a_pair_is_turned(seed: int) -> None:
    random = np.random.default_rng(seed)
    x, cosines, sines = fp16(random, (COUNT // 8, 8)), fp16(random, (COUNT // 8, 4)), fp16(random, (COUNT // 8, 4))
    even, odd, c, s = wide(x[:, ::2]), wide(x[:, 1::2]), wide(cosines), wide(sines)
    found = rotate(x, cosines, sines)
    with np.errstate(all="ignore"):
        assert same(found[:, ::2], even * c - odd * s)
        assert same(found[:, 1::2], odd * c + even * s)


def test_the_gate_is_rounded_before_it_is_multiplied() -> None:
    random = np.random.default_rng(0)
    gates, ups = fp16(random, COUNT), fp16(random, COUNT)
    with np.errstate(all="ignore"):
        assert same(swiglu(gates, ups), wide(silus(gates)) * wide(ups))


def test_residuals_are_added_in_fp32() -> None:
    random = np.random.default_rng(0)
    results, residuals = random.integers(0, 1 << 32, COUNT, dtype=np.uint32), fp16(random, COUNT)
    with np.errstate(all="ignore"):
        near = (wide(residuals) * -1.0002).view(np.uint32)
    for sums in (results, near):
        with np.errstate(all="ignore"):
            assert same(add_residuals(sums, residuals), sums.view(np.float32) + wide(residuals))


def test_a_factor_is_multiplied_before_the_one_rounding() -> None:
    sums = np.random.default_rng(0).standard_normal(COUNT).astype(np.float32)
    exact = sums.astype(np.float64) * np.float64(np.float32(0.0883883461356163))
    assert np.array_equal(scaled(sums.view(np.uint32), 0.0883883461356163).view(np.float16), exact.astype(np.float16))


def test_the_larger_logit_decides() -> None:
    logits = np.random.default_rng(0).integers(0, 1 << 32, (COUNT, 2), dtype=np.uint32)
    execute, skip = logits.view(np.float32).T
    assert np.array_equal(executed(logits), ~(execute < skip))


@pytest.mark.parametrize(
    ("execute", "skip", "runs"),
    [(0.0, -0.0, True), (-0.0, 0.0, True), (np.nan, 9.0, True), (-9.0, np.nan, True), (-np.inf, np.inf, False)],
)
def test_ties_and_nans_execute(execute: float, skip: float, runs: bool) -> None:
    assert executed(np.array([[execute, skip]], np.float32).view(np.uint32)).tolist() == [runs]
