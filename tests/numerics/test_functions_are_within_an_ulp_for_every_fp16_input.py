"""exp, 1/x, 1/√x, SiLU, GELU on all 65 536 FP16 inputs, against extended precision."""

import numpy as np
import pytest

from skipopu.numerics.exponential import exponentials
from skipopu.numerics.reciprocal import reciprocal_roots
from skipopu.numerics.ulp import ALL, FUNCTIONS, largest_error, numbers, ulps

PLUS_ZERO, MINUS_ZERO, ONE, PLUS_INFINITY, MINUS_INFINITY, NAN = 0, 0x8000, 0x3C00, 0x7C00, 0xFC00, 0x7E00
SPECIALS = (PLUS_ZERO, MINUS_ZERO, PLUS_INFINITY, MINUS_INFINITY)
# most ULP, inputs that have a value, results of the specials; half an ULP is the rounding's
EXPECTED: dict[str, tuple[float, int, tuple[int, ...]]] = {
    "exponential": (0.51, 63488, (ONE, ONE, PLUS_INFINITY, PLUS_ZERO)),
    "reciprocal": (0.51, 63488, (PLUS_INFINITY, MINUS_INFINITY, PLUS_ZERO, MINUS_ZERO)),
    "reciprocal root": (0.502, 31745, (PLUS_INFINITY, MINUS_INFINITY, PLUS_ZERO, NAN)),
    "SiLU": (0.515, 63488, (PLUS_ZERO, MINUS_ZERO, PLUS_INFINITY, MINUS_ZERO)),
    "GELU": (0.517, 63488, (PLUS_ZERO, MINUS_ZERO, PLUS_INFINITY, MINUS_ZERO)),
}
FINITE = ALL[np.isfinite(numbers(ALL))]


@pytest.mark.parametrize("name", EXPECTED)
def test_every_finite_input_is_within_the_stated_bound(name: str) -> None:
    most, inputs, _ = EXPECTED[name]
    error = largest_error(name)
    assert error.ulps <= most
    assert error.inputs == inputs


def test_the_yardstick_measures_what_is_known() -> None:
    """1.5 lies 0.4 of 2^−10 from 1.5 + 0.4 · 2^−10; subnormals are 2^−24 apart; what rounds to infinity is no error."""
    found = np.array([0x3E00, 0x0001, PLUS_INFINITY, 0x7BFF], np.uint16)
    exact = np.array([1.5 + 0.4 * 2.0**-10, 1.75 * 2.0**-24, 70000, 65505], np.longdouble)
    assert np.allclose(ulps(found, exact).astype(float), [0.4, 0.75, 0, 1 / 32], atol=1e-9)


@pytest.mark.parametrize("name", EXPECTED)
def test_specials_are_those_of_the_limit(name: str) -> None:
    assert FUNCTIONS[name][0](np.array(SPECIALS, np.uint16)).tolist() == list(EXPECTED[name][2])


@pytest.mark.parametrize("name", EXPECTED)
def test_every_nan_becomes_the_canonical_one(name: str) -> None:
    nans = ALL[np.isnan(numbers(ALL))]
    assert len(nans) == 2046
    assert set(FUNCTIONS[name][0](nans).tolist()) == {NAN}


def test_no_root_below_zero() -> None:
    below = np.arange(MINUS_ZERO + 1, MINUS_INFINITY, dtype=np.uint16)
    assert set(reciprocal_roots(below).tolist()) == {NAN}


def test_the_exponential_never_falls() -> None:
    ordered = FINITE[np.argsort(numbers(FINITE), kind="stable")]
    found = numbers(exponentials(ordered))
    assert (found[1:] >= found[:-1]).all()
