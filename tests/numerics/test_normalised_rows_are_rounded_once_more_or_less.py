"""RMSNorm and LayerNorm against float64; the sums of the reduction units against exact ones."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.normalization import layer_norm, rms_norm
from skipopu.numerics.reduction import TERM_BITS, Terms, new_terms, reduced
from skipopu.numerics.ulp import ulps

EPSILON = 1e-5
SIZES = (1, 2, 63, 64, 65, 4096, 5120)


def rows(random: np.random.Generator, size: int, spread: float, mean: float = 0.0) -> NDArray[np.float16]:
    return (random.standard_normal((4, size)) * spread + mean).astype(np.float16)


def weights(random: np.random.Generator, size: int) -> NDArray[np.float16]:
    return (1 + random.standard_normal(size) / 4).astype(np.float16)


def bits(*arrays: NDArray[np.float16]) -> list[NDArray[np.uint16]]:
    return [array.view(np.uint16) for array in arrays]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("spread", [1e-3, 1.0, 100.0])
def test_rms_norm_is_within_half_an_ulp_and_a_fiftieth(size: int, spread: float) -> None:
    random = np.random.default_rng(size)
    x, gamma = rows(random, size, spread), weights(random, size)
    wide = x.astype(np.longdouble)
    exact = wide / np.sqrt((wide**2).mean(axis=1, keepdims=True) + EPSILON) * gamma
    assert ulps(rms_norm(*bits(x, gamma), EPSILON, 64), exact).max() <= 0.52


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_layer_norm_loses_what_the_square_of_the_mean_takes(size: int, mean: float) -> None:
    """Σx² − (Σx)²/D in FP32 has lost bits where the mean is large beside the deviation."""
    random = np.random.default_rng(size)
    x, gamma, beta = rows(random, size, 1.0, mean), weights(random, size), weights(random, size)
    wide = x.astype(np.float64)
    deviation = np.sqrt(wide.var(axis=1, keepdims=True) + EPSILON)
    exact = (wide - wide.mean(axis=1, keepdims=True)) / deviation * gamma + beta
    found = layer_norm(*bits(x, gamma, beta), EPSILON, 64).view(np.float16).astype(np.float64)
    lost = 2.0**-20 * (1 + (wide.mean(axis=1, keepdims=True) / deviation) ** 2)
    assert (np.abs(found - exact) <= np.abs(exact) * 2.0**-11 * 1.01 + 2.0**-12 + 16 * lost).all()


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
def test_a_special_element_spoils_its_row_alone(special: float) -> None:
    x = rows(np.random.default_rng(0), 70, 1.0)
    x[1, 65] = special
    found = rms_norm(*bits(x, np.ones(70, np.float16)), EPSILON, 64).view(np.float16)
    assert np.isnan(found[1, 65])
    expected = np.nan if np.isnan(special) else 0.0  # of the finite ones, beside an infinite deviation
    assert np.array_equal(np.unique(np.abs(found[1, :65])), [expected], equal_nan=True)
    assert np.isfinite(found[[0, 2, 3]]).all()


def exact_sum(terms: list[int], exponents: list[int]) -> Fraction:
    """The definition: terms lose what lies below the last bit of the largest exponent."""
    shared = max((e for t, e in zip(terms, exponents, strict=True) if t), default=0)
    kept = (int(t / Fraction(2) ** (shared - e)) for t, e in zip(terms, exponents, strict=True))  # toward zero
    return sum(kept) * Fraction(2) ** shared


TERM = st.tuples(st.integers(-(1 << TERM_BITS) + 1, (1 << TERM_BITS) - 1), st.integers(-40, 10))


@settings(deadline=None)
@given(st.lists(TERM, min_size=1, max_size=64))
def test_a_reduction_is_its_definition_rounded_once(pairs: list[Any]) -> None:
    terms, exponents = (list(column) for column in zip(*pairs, strict=True))
    unit: Terms = new_terms(len(pairs))
    unit.terms[:], unit.exponents[:] = terms, exponents
    exact = exact_sum(terms, exponents)
    rounded = np.float32(float(exact)) if exact else np.float32(0)  # below 53 bits: exact in float64
    assert np.uint32(reduced(unit, len(pairs))).view(np.float32) == rounded
