"""Rotation, SwiGLU, residual, routing: bit for bit what the processor's float32 and float16 give."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from skipopu.numerics.narrowing import add_residuals, scaled
from skipopu.numerics.result_path import apply_function, hide, numbers, row_words
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


def test_the_product_with_a_factor_is_an_fp32_number_before_it_is_narrowed() -> None:
    factor = 0.0883883461356163
    sums = np.random.default_rng(0).standard_normal(COUNT * 20).astype(np.float32)
    in_steps = (sums * np.float32(factor)).astype(np.float16)
    at_once = (sums.astype(np.float64) * np.float64(np.float32(factor))).astype(np.float16)
    assert np.array_equal(scaled(sums.view(np.uint32), factor).view(np.float16), in_steps)
    assert not np.array_equal(in_steps, at_once)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
def test_a_total_is_scaled_then_biased_then_added_to(with_bias: bool, with_residual: bool) -> None:
    random = np.random.default_rng(0)
    totals, scales = random.integers(0, 1 << 32, (2, COUNT), dtype=np.uint32)
    biases, residuals = fp16(random, (2, COUNT))
    near = (random.standard_normal((2, COUNT)) * 4).astype(np.float32).view(np.uint32)
    for total, scale in ((totals, scales), near):
        with np.errstate(all="ignore"):
            exact = total.view(np.float32) * scale.view(np.float32)
            exact = exact + wide(biases) if with_bias else exact
            exact = exact + wide(residuals) if with_residual else exact
            found = numbers(total, scale, biases if with_bias else None, residuals if with_residual else None)
            assert same(found, exact)


def test_relu_has_no_negative_zero_and_keeps_nan() -> None:
    words = np.arange(1 << 16, dtype=np.uint16).reshape(-1, 8)
    with np.errstate(all="ignore"):
        assert same(apply_function("relu", words, words, words), np.maximum(wide(words), 0) + np.float32(0))


def test_swiglu_leaves_half_a_word() -> None:
    words = fp16(np.random.default_rng(0), (COUNT // 8, 8))
    found = apply_function("swiglu", words, words, words)
    assert np.array_equal(found[:, :4], swiglu(words[:, ::2].copy(), words[:, 1::2].copy()))
    assert not found[:, 4:].any()


@pytest.mark.parametrize(
    ("columns", "heads", "words"),
    [
        (10, 1, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, -1, -1]]),
        (10, 2, [[0, 1, 2, 3], [4, -1, -1, -1], [5, 6, 7, 8], [9, -1, -1, -1]]),
        (2, 2, [[0, -1], [1, -1]]),
    ],
)
def test_a_word_has_columns_of_one_head(columns: int, heads: int, words: list[list[int]]) -> None:
    found = row_words(np.arange(1, 1 + columns).reshape(1, columns), 4, heads)
    assert (found[0] - 1).tolist() == words


def test_what_is_not_visible_is_minus_infinity() -> None:
    assert hide(np.array([1, 2], np.uint16), np.array([True, False])).tolist() == [1, 0xFC00]


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
