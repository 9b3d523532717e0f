"""Fixed point to FP32 and FP16: correctly rounded, to nearest even and toward zero."""

from fractions import Fraction

import numpy as np
import pe_oracle
import pytest
from fp16_operands import VARIANTS
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.conversion import bit_length, convert, round_magnitude
from skipopu.numerics.floating_point import FP16, FP32, binary_format

ROUNDINGS = VARIANTS[:4]  # both output roundings, both formats
LIMIT = 2**31


def assert_rounded(totals: list[int], exponents: list[int], arithmetic: Arithmetic) -> None:
    found = convert(np.array(totals, np.int64), np.array(exponents, np.int64), arithmetic)
    expected = [
        pe_oracle.rounded(t * Fraction(2) ** e, arithmetic.fp16_psum, arithmetic.nearest_output)
        for t, e in zip(totals, exponents, strict=True)
    ]
    assert found.tolist() == expected


@settings(max_examples=400)
@given(st.integers(-LIMIT, LIMIT - 1), st.integers(-48, 17), st.sampled_from(ROUNDINGS))
def test_any_sum(total: int, exponent: int, arithmetic: Arithmetic) -> None:
    assert_rounded([total], [exponent], arithmetic)


@pytest.mark.parametrize("arithmetic", ROUNDINGS, ids=["fp32-zero", "fp16-zero", "fp32-even", "fp16-even"])
def test_around_every_tie(arithmetic: Arithmetic) -> None:
    """Sums next to the middle of two neighbours, from deep underflow to overflow."""
    precision = 11 if arithmetic.fp16_psum else 24
    totals = [
        sign * ((2 ** (precision - 1) + odd) * 2**drop + 2 ** (drop - 1) + near)
        for drop in (1, 2, 6)
        for odd in (0, 1, 2, 2 ** (precision - 1) - 1)
        for near in (-1, 0, 1)
        for sign in (1, -1)
    ]
    for exponent in range(-50, 20):
        assert_rounded(totals, [exponent] * len(totals), arithmetic)


def test_every_fp16_number_is_its_own_rounding() -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    finite = bits[(bits & 0x7C00) != 0x7C00]
    totals = (finite.view(np.float16).astype(np.float64) * 2**24).astype(np.int64)
    same = np.where(finite == 0x8000, 0, finite)  # a zero total is +0
    for arithmetic in ROUNDINGS[1::2]:
        found = convert(totals, np.full(totals.shape, -24, np.int64), arithmetic)
        assert np.array_equal(found, same)


def test_shape_is_kept() -> None:
    assert convert(np.ones((2, 3), np.int64), np.zeros((2, 3), np.int64), VARIANTS[0]).shape == (2, 3)


@pytest.mark.parametrize(
    ("total", "exponent", "zero", "even"),
    [
        (65519, 0, 0x7BFF, 0x7BFF),
        (65520, 0, 0x7BFF, 0x7C00),  # half a step above the largest number
        (-(1 << 30), 0, 0xFBFF, 0xFC00),
        (1, -25, 0x0000, 0x0000),  # half the smallest number: to even
        (3, -25, 0x0001, 0x0002),
        (-1, -26, 0x8000, 0x8000),  # underflow keeps the sign
        (0x7FF, -25, 0x03FF, 0x0400),  # the carry makes it normal
        (0, 5, 0x0000, 0x0000),
    ],
)
def test_fp16_ends_by_hand(total: int, exponent: int, zero: int, even: int) -> None:
    found = [int(convert(np.array([total]), np.array([exponent]), a)[0]) for a in ROUNDINGS[1::2]]
    assert found == [zero, even]


@given(st.integers(0, 2**62), st.booleans(), st.booleans())
def test_wide_magnitudes(magnitude: int, nearest: bool, minus: bool) -> None:
    magnitude >>= 1
    found = round_magnitude(minus, magnitude, -70, nearest, FP32)
    exact = (-1 if minus else 1) * Fraction(magnitude, 2**70)
    assert found == pe_oracle.rounded(exact, False, nearest, minus=minus)
    assert bit_length(magnitude) == magnitude.bit_length()


def test_formats_are_those_of_ieee_754() -> None:
    assert FP16 == (10, 15, 0x8000, 0x7C00, 0x7E00)
    assert FP32 == (23, 127, 0x80000000, 0x7F800000, 0x7FC00000)
    assert binary_format(8, 7).infinity == 0x7F80
