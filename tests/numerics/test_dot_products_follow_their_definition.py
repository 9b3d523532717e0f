"""Dot products at a shared exponent: every bit as the definition gives it, in all variants and both modes."""

from typing import Any

import numpy as np
import pe_oracle
import pytest
from fp16_operands import KINDS, VARIANTS, cancelling, draw, int4, patterns, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.numerics.arithmetic import Arithmetic, arithmetic_of
from skipopu.numerics.dot_product import dot_products
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

ONE = 0x3C00


def assert_follows(activations: Any, weights: Any, arithmetic: Arithmetic) -> None:
    found = dot_products(activations, weights, arithmetic)
    narrow = weights.dtype == np.int8
    expected = [
        [pe_oracle.dot(row, column, narrow, arithmetic) for column in weights.tolist()]
        for row in activations.tolist()
    ]
    assert found.tolist() == expected


@settings(max_examples=300)
@given(st.data(), st.integers(1, 5), st.sampled_from(VARIANTS))
def test_any_operands(data: st.DataObject, length: int, arithmetic: Arithmetic) -> None:
    row = data.draw(st.lists(patterns, min_size=length, max_size=length))
    column = data.draw(st.lists(patterns, min_size=length, max_size=length))
    assert_follows(np.array([row], np.uint16), np.array([column], np.uint16), arithmetic)


@settings(max_examples=300)
@given(st.data(), st.integers(1, 5), st.sampled_from(VARIANTS))
def test_any_operands_with_int4(data: st.DataObject, length: int, arithmetic: Arithmetic) -> None:
    row = data.draw(st.lists(patterns, min_size=length, max_size=length))
    column = data.draw(st.lists(int4, min_size=length, max_size=length))
    assert_follows(np.array([row], np.uint16), np.array([column], np.int8), arithmetic)


@pytest.mark.parametrize("arithmetic", VARIANTS, ids=lambda a: "-".join(str(int(x)) for x in a[:4]))
@pytest.mark.parametrize("length", [16, 64])
def test_every_kind_of_tile(length: int, arithmetic: Arithmetic) -> None:
    random = np.random.default_rng(length)
    for left in KINDS:
        for right in (*KINDS, "int4", "int4 sparse"):
            row, column = draw(random, left, (2, length)), weights(random, right, (2, length))
            assert_follows(row, column, arithmetic)
            cancelling(random, row, column)
            assert_follows(row, column, arithmetic)


@pytest.mark.parametrize("arithmetic", VARIANTS[::5])
def test_the_longest_sums_do_not_overflow(arithmetic: Arithmetic) -> None:
    largest = np.full((1, 512), 0x7BFF, np.uint16)
    assert_follows(largest, largest, arithmetic)
    assert_follows(largest, largest ^ 0x8000, arithmetic)
    assert_follows(largest, np.full((1, 512), -8, np.int8), arithmetic)


def test_columns_beyond_one_block() -> None:
    random = np.random.default_rng(9)
    for columns in (127, 128, 129, 300):
        row = draw(random, "finite", (2, 3))
        assert_follows(row, weights(random, "finite", (columns, 3)), VARIANTS[0])
        assert_follows(row, weights(random, "int4", (columns, 3)), VARIANTS[-1])


def test_operands_may_be_strided() -> None:
    random = np.random.default_rng(10)
    row, column = draw(random, "any", (4, 32)), draw(random, "any", (6, 32))
    found = dot_products(row[::2, ::2], column[::3, 1::2], VARIANTS[3])
    same = dot_products(row[::2, ::2].copy(), column[::3, 1::2].copy(), VARIANTS[3])
    assert found.tolist() == same.tolist()


def test_a_zero_operand_does_not_set_the_shared_exponent() -> None:
    """0 · 65504 beside 2^-14 · 2^-14: with the exponent of the first, nothing of the second would be left."""
    row, column = np.array([[0x0000, 0x0400]], np.uint16), np.array([[0x7BFF, 0x0400]], np.uint16)
    found = dot_products(row, column, VARIANTS[0])
    assert found.view(np.float32).tolist() == [[2.0**-28]]


def test_a_product_truncated_to_zero_does_set_it() -> None:
    """Smallest subnormal · largest subnormal loses all its bits but not its exponent, 2."""
    row, column = np.array([[0x0001]], np.uint16), np.array([[0x000F]], np.uint16)
    by_bits = {a.product_bits: dot_products(row, column, a).view(np.float32)[0, 0] for a in VARIANTS[::8]}
    assert by_bits == {22: 15 * 2.0**-48, 15: 0.0}


def test_alignment_by_hand() -> None:
    """1 + 2^-15 + 2^-24: of products below 4, 15 bits leave 13 behind the point and 22 bits leave 20."""
    row = np.array([[ONE, 0x0201]], np.uint16)  # 1, 513 · 2^-24
    column = np.array([[ONE, ONE]], np.uint16)
    found = {
        a[:2]: float(dot_products(row, column, a).view(np.float32)[0, 0]) for a in VARIANTS if not a.fp16_psum
    }
    assert found == {
        (22, False): 1 + 2.0**-15,
        (22, True): 1 + 2.0**-15,
        (15, False): 1.0,
        (15, True): 1.0,
    }


def test_nearest_alignment_rounds_half_away_from_zero() -> None:
    """±(2^-13 + …) beside 1 in 15 bits: the half bit is 2^-14."""
    ulp = 2.0**-13  # of 15-bit products at exponent 0
    for sign in (0, 0x8000):
        row = np.array([[ONE, (0x3C00 - (14 << 10)) | sign]], np.uint16)  # 1, ±2^-14
        column = np.array([[ONE, ONE]], np.uint16)
        arithmetic = Arithmetic(15, True, True, False, 1)
        expected = 1 - ulp if sign else 1 + ulp
        assert dot_products(row, column, arithmetic).view(np.float32)[0, 0] == expected
        truncating = arithmetic._replace(nearest_alignment=False)
        assert dot_products(row, column, truncating).view(np.float32)[0, 0] == 1


@pytest.mark.parametrize(
    ("row", "column", "found"),
    [
        ([0x7C00], [0x0000], 0x7FC00000),  # inf × 0
        ([0x7C00, ONE], [ONE, ONE], 0x7F800000),
        ([0x7C00, 0x7C00], [ONE, 0xBC00], 0x7FC00000),  # inf − inf
        ([0x7C00, 0xFC00], [ONE, 0xBC00], 0x7F800000),
        ([0xFC00, 0x7BFF], [0x0001, 0x7BFF], 0xFF800000),
        ([0x7D01], [0x0000], 0x7FC00000),  # NaN with a payload
        ([0x0000, ONE], [0xFC00, ONE], 0x7FC00000),  # 0 × inf
    ],
)
def test_infinities_and_nan(row: list[int], column: list[int], found: int) -> None:
    dots = dot_products(np.array([row], np.uint16), np.array([column], np.uint16), VARIANTS[0])
    assert dots.tolist() == [[found]]


def test_infinite_activation_with_int4() -> None:
    columns = np.array([[3, 0], [-1, 1], [0, 7]], np.int8)
    dots = dot_products(np.array([[0x7C00, ONE]], np.uint16), columns, VARIANTS[0]._replace(fp16_psum=True))
    assert dots.tolist() == [[0x7C00, 0xFC00, 0x7E00]]


def test_no_rows_and_no_columns() -> None:
    row = np.zeros((0, 16), np.uint16)
    assert dot_products(row, np.zeros((5, 16), np.int8), VARIANTS[0]).shape == (0, 5)
    assert dot_products(np.zeros((5, 16), np.uint16), row, VARIANTS[0]).shape == (5, 0)


def test_arithmetic_is_that_of_the_overlay() -> None:
    settings = ("pe_array.product_bits=22", "pe_array.alignment_rounding=nearest", "psum.interleave=8")
    more = ("pe_array.output_rounding=toward_zero", "psum.format=fp16")
    assert arithmetic_of(Overlay.load("tiny", settings + more)) == Arithmetic(22, True, False, True, 8)
    assert arithmetic_of(Overlay.load("tiny")) == Arithmetic(15, False, True, False, 4)


@pytest.mark.parametrize(
    ("row", "column", "told"),
    [
        (np.zeros((1, 4), np.int16), np.zeros((1, 4), np.int8), "int16 and int8; valid: uint16"),
        (np.zeros((1, 4), np.uint16), np.zeros((1, 4), np.float32), "uint16 and float32; valid"),
        (np.zeros((1, 4), np.uint16), np.zeros((1, 5), np.int8), r"\(1, 4\) and \(1, 5\); valid"),
        (np.zeros(4, np.uint16), np.zeros((1, 4), np.int8), r"\(4,\) and \(1, 4\); valid"),
        (np.zeros((1, 0), np.uint16), np.zeros((1, 0), np.int8), "of 0 products; valid: 1 to 512"),
        (np.zeros((1, 513), np.uint16), np.zeros((1, 513), np.int8), "of 513 products; valid: 1 to 512"),
        (np.zeros((1, 1), np.uint16), np.full((1, 1), 8, np.int8), "weights from 8 to 8; valid: -8 to 7"),
    ],
)
def test_what_the_array_cannot_multiply_is_refused(row: Any, column: Any, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        dot_products(row, column, VARIANTS[0])
