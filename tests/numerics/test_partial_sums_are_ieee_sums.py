"""PSUM: IEEE additions in both formats, interleaved entries, and their pairwise FP32 sum."""

from typing import Any

import numpy as np
import pe_oracle
import pytest
from fp16_operands import ENDS, VARIANTS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.psum import accumulate, add_tile, drain

Bits = NDArray[np.uint32]
FP32_SUMS, FP16_SUMS = VARIANTS[2]._replace(interleave=1), VARIANTS[3]._replace(interleave=1)
MINUS = 1 << 31
SIZES = (
    0, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0x3F800001, 0x4B800000, 0x7F7FFFFF, 0x7F800000, 0x7FA00000,
)  # fmt: skip
FP32_ENDS = [size | minus for size in SIZES for minus in (0, MINUS)]


def sums(a: Any, b: Any, arithmetic: Arithmetic) -> Bits:
    """a + b, element by element."""
    entries = np.array(a, np.uint32).reshape(1, 1, -1)
    add_tile(np.array(b, np.uint32).reshape(1, -1), 0, entries, arithmetic)
    return entries.ravel()


def canonical(numbers: NDArray[Any], nan: int) -> Bits:
    word = {2: np.uint16, 4: np.uint32}[numbers.itemsize]
    return np.where(np.isnan(numbers), nan, numbers.view(word)).astype(np.uint32)


def fp32_pairs(random: np.random.Generator, count: int) -> tuple[Bits, Bits]:
    """Any patterns, and pairs that are close: equal exponents, opposite signs, subnormals."""
    a = random.integers(0, 1 << 32, count, dtype=np.uint32)
    b = random.integers(0, 1 << 32, count, dtype=np.uint32)
    near = a + (random.integers(-40, 40, count) << random.integers(0, 26, count)).astype(np.uint32)
    near ^= random.integers(0, 2, count, dtype=np.uint32) << np.uint32(31)
    small = b & np.uint32(0x81FFFFFF)
    return np.concatenate([a, a, a & np.uint32(0x80FFFFFF)]), np.concatenate([b, near, small])


@pytest.mark.parametrize("seed", range(4))
def test_fp32_sums_are_those_of_the_processor(seed: int) -> None:
    a, b = fp32_pairs(np.random.default_rng(seed), 500_000)
    with np.errstate(all="ignore"):
        expected = canonical(a.view(np.float32) + b.view(np.float32), 0x7FC00000)
    assert np.array_equal(sums(a, b, FP32_SUMS), expected)


def test_fp32_ends_meet_each_other() -> None:
    a, b = np.array([(x, y) for x in FP32_ENDS for y in FP32_ENDS], np.uint32).T
    expected = [pe_oracle.add(x, y, False) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert sums(a, b, FP32_SUMS).tolist() == expected


@pytest.mark.parametrize("slice_", range(4))
def test_fp16_sums_are_exact_sums_rounded_once(slice_: int) -> None:
    """Every pattern with a slice of partners; binary64 holds the exact sum."""
    everything = np.arange(1 << 16, dtype=np.uint16)
    partners = np.random.default_rng(slice_).integers(0, 1 << 16, 12).astype(np.uint16)
    for partner in [*partners, *np.array(ENDS[slice_::4], np.uint16)]:
        b = np.full_like(everything, partner)
        with np.errstate(all="ignore"):
            exact = everything.view(np.float16).astype(np.float64) + b.view(np.float16).astype(np.float64)
            expected = canonical(exact.astype(np.float16), 0x7E00)
        assert np.array_equal(sums(everything, b, FP16_SUMS), expected)


@settings(max_examples=300)
@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_sums_are_those_of_fractions(a: int, b: int, c: int, d: int) -> None:
    assert sums([a], [b], FP16_SUMS).tolist() == [pe_oracle.add(a, b, True)]
    assert sums([c], [d], FP32_SUMS).tolist() == [pe_oracle.add(c, d, False)]


@settings(max_examples=200)
@given(st.data(), st.integers(1, 20), st.integers(1, 9), st.booleans())
def test_tiles_go_round_the_slots(data: st.DataObject, depth: int, interleave: int, fp16: bool) -> None:
    top = 0xFFFF if fp16 else 2**32 - 1
    dots = data.draw(st.lists(st.integers(0, top), min_size=depth, max_size=depth))
    arithmetic = VARIANTS[2]._replace(interleave=interleave, fp16_psum=fp16)
    entries = accumulate(np.array(dots, np.uint32).reshape(depth, 1, 1), arithmetic)
    expected = pe_oracle.accumulate(dots, interleave, fp16)
    assert entries[0, :, 0].tolist() == expected
    assert drain(entries, arithmetic).tolist() == [[pe_oracle.drain(expected, fp16)]]


@pytest.mark.parametrize("fp16", [False, True])
def test_rows_and_columns_stay_apart(fp16: bool) -> None:
    random = np.random.default_rng(4)
    arithmetic = VARIANTS[2]._replace(interleave=3, fp16_psum=fp16)
    dots = random.integers(0, 1 << 15, (7, 5, 4)).astype(np.uint32)
    entries = accumulate(dots, arithmetic)
    assert entries.shape == (5, 3, 4)
    total = drain(entries, arithmetic)
    for row in range(5):
        for column in range(4):
            own = pe_oracle.accumulate(dots[:, row, column].tolist(), 3, fp16)
            assert entries[row, :, column].tolist() == own
            assert total[row, column] == pe_oracle.drain(own, fp16)


def test_every_fp16_number_is_widened_exactly() -> None:
    bits = np.arange(1 << 16, dtype=np.uint32)
    wide = drain(bits.reshape(1, 1, -1), FP16_SUMS).ravel()
    expected = canonical(bits.astype(np.uint16).view(np.float16).astype(np.float32), 0x7FC00000)
    assert np.array_equal(wide, expected)


def test_a_drain_leaves_the_entries_as_they_were() -> None:
    entries = np.full((1, 4, 1), 0x3C00, np.uint32)
    assert drain(entries, FP16_SUMS).view(np.float32) == 4
    assert np.all(entries == 0x3C00)


def test_pairs_are_added_first() -> None:
    """(1 + 2^24) + (−2^24 + 1) loses both ones; in order, one would be left."""
    slots = np.array([1, 2.0**24, -(2.0**24), 1], np.float32).view(np.uint32).reshape(1, 4, 1)
    assert drain(slots, FP32_SUMS).view(np.float32).tolist() == [[1.0]]
    three = np.array([2.0**24, 1, 1], np.float32).view(np.uint32).reshape(1, 3, 1)
    assert drain(three, FP32_SUMS).view(np.float32).tolist() == [[2.0**24]]


@pytest.mark.parametrize(
    ("arithmetic", "minus", "nan"), [(FP32_SUMS, MINUS, 0x7FC00000), (FP16_SUMS, 1 << 15, 0x7E00)]
)
def test_signs_of_zero_and_canonical_nan(arithmetic: Arithmetic, minus: int, nan: int) -> None:
    infinity = nan & (nan << 1)
    a = [0, minus, minus, 5, infinity, infinity | 1]
    b = [minus, 0, minus, 5 | minus, infinity | minus, 0]
    assert sums(a, b, arithmetic).tolist() == [0, 0, minus, 0, nan, nan]
    first = accumulate(np.full((1, 1, 1), minus, np.uint32), arithmetic)
    assert first.tolist() == [[[0]]]  # the first K-tile is added to +0
