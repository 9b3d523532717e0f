"""DSP48E2 packing: both products come out right, in every case there is."""

import numba
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from interpreted import interpreted

from skipopu.numerics import packing
from skipopu.numerics.packing_check import fp16_mismatches, fp16_wrong, int4_mismatches, int4_wrong

significands = st.integers(0, 2047)
FIRST = 3  # an odd u0, so that its last bit counts


def test_all_fp16_triples() -> None:
    """2^33 of them."""
    assert fp16_mismatches(0, 2048) == 0


def test_all_int4_triples_with_both_signs_of_the_activation() -> None:
    assert int4_mismatches() == 0


@settings(max_examples=300)
@given(significands, significands, significands)
def test_fp16_ports_hold_what_the_definition_says(u0: int, u1: int, w: int) -> None:
    """The definition on bit strings: fields are cut out of text, the kernel shifts and masks."""
    low, high, activation = f"{u0:011b}", f"{u1:011b}", f"{w:011b}"
    preadd = int(low[:10], 2) - int(high[1:], 2) * 2**16
    auxiliary = int(high[6:], 2) * int(activation[6:], 2) % 32
    last = int(activation[:10], 2) if low[10] == "1" else 0
    correction = auxiliary * 2**16 + last - int(high[0]) * w * 2**26
    assert -(2**26) <= preadd < 2**26
    assert packing.fp16_preadd(u0, u1) == preadd
    assert packing.fp16_auxiliary(u1, w) == auxiliary
    assert packing.fp16_correction(u0, u1, w) == correction
    result = packing.fp16_result(u0, u1, w)
    assert result % 2**48 == (preadd * w + correction) % 2**48
    assert -(2**47) <= result < 2**47
    text = f"{result % 2**48:048b}"
    lower = text[27:] + ("1" if low[10] == activation[10] == "1" else "0")
    upper = f"{-(result // 2**21) % 2**17:017b}{auxiliary:05b}"
    assert packing.fp16_lower(result, u0, w) == int(lower, 2) == u0 * w
    assert packing.fp16_upper(result, u1, w) == int(upper, 2) == u1 * w


@given(st.integers(-8, 7), st.integers(-8, 7), significands, st.booleans())
def test_int4_lanes(w0: int, w1: int, u: int, negative: bool) -> None:
    result = packing.int4_result(w0, w1, u)
    assert result == (w0 + w1 * 2**16) * u
    assert (packing.int4_lower(result), packing.int4_upper(result)) == (w0 * u, w1 * u)
    assert packing.int4_magnitude(w0 * u) == abs(w0) * u < 2**14
    if w0 * u:
        assert packing.int4_negative(w0 * u, negative) == ((w0 < 0) ^ negative)


def test_the_alu_wraps_at_48_bits() -> None:
    assert [packing.wrapped(v) for v in (2**47 - 1, 2**47, -(2**47) - 1, 2**48 + 5)] == [
        2**47 - 1, -(2**47), 2**47 - 1, 5,
    ]  # fmt: skip
    assert [packing.in_signed(v, 27) for v in (-(2**26) - 1, -(2**26), 2**26 - 1, 2**26)] == [
        False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(fp16_auxiliary(u1, w) << LANE)", "0"),  # overlap not cleared
        ("high << OVERLAP_BITS | fp16_auxiliary(u1, w)", "high << OVERLAP_BITS"),  # last bits dropped
        ("last = w >> 1 if u0 & 1 else 0", "last = 0"),
        ("last = w >> 1 if", "last = w if"),
        ("first = w if u1 >> HIDDEN else 0", "first = 0"),
        ("(first << (LANE + HIDDEN))", "(first << (LANE + HIDDEN + 1))"),
        ("(u0 >> 1) - ((u1", "(u0 >> 1) + ((u1"),
        ("<< 1 | (u0 & w & 1)", "<< 1"),
        ("-(result >> LOWER_BITS)", "~(result >> LOWER_BITS)"),
        ("OVERLAP_BITS = 5", "OVERLAP_BITS = 4"),
        ("PREADD_BITS = 27", "PREADD_BITS = 26"),
        ("RESULT_BITS = 48", "RESULT_BITS = 37"),
    ],
)
def test_a_fault_in_fp16_packing_is_counted(old: str, new: str) -> None:
    code = interpreted("packing", old, new, jit=numba.njit)
    assert code.fp16_mismatches(FIRST, FIRST + 1) > 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(result >> LANE) + (result >> (LANE - 1) & 1)", "result >> LANE"),  # borrow missing
        ("(lane ^ sign) - sign", "lane"),
        ("w0 + (w1 << LANE)", "w0 + (w1 << (LANE - 1))"),
        ("(product < 0) != activation_negative", "product < 0"),
        ("(product < 0) != activation_negative", "activation_negative"),
        ("return abs(product)", "return product"),
        ("LANE = 16", "LANE = 14"),
    ],
)
def test_a_fault_in_int4_packing_is_counted(old: str, new: str) -> None:
    assert interpreted("packing", old, new, jit=numba.njit).int4_mismatches() > 0


def test_without_a_fault_nothing_is_counted() -> None:
    code = interpreted(jit=numba.njit)
    assert code.fp16_mismatches(FIRST, FIRST + 1) == code.int4_mismatches() == 0
    assert not fp16_wrong(2047, 2047, 2047)
    assert not int4_wrong(-8, -8, 2047, True)
