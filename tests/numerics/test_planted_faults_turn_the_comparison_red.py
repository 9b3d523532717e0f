"""The comparison with the oracle notices a wrong line: each fault is planted in the source of the kernels."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pe_oracle
import pytest
from fp16_operands import VARIANTS, cancelling, draw, weights
from interpreted import interpreted

from skipopu.numerics.arithmetic import Arithmetic

LENGTH = 8


def same_dots(code: SimpleNamespace) -> bool:
    """All variants on tiles of several kinds."""
    random = np.random.default_rng(0)
    for arithmetic in VARIANTS:
        for left, right in [("normal", "normal"), ("ends", "any"), ("wide", "int4"), ("ends", "int4 sparse"),
                            ("sparse", "sparse"), ("subnormal", "normal"), ("normal", "ends"),
                            ("finite", "finite")]:  # fmt: skip
            row, column = draw(random, left, (1, LENGTH)), weights(random, right, (3, LENGTH))
            if not (_same(code, row, column, arithmetic)):
                return False
            cancelling(random, row, column)
            if not (_same(code, row, column, arithmetic)):
                return False
    return True


def _same(code: SimpleNamespace, row: Any, column: Any, arithmetic: Arithmetic) -> bool:
    narrow = column.dtype == np.int8
    expected = [pe_oracle.dot(row[0].tolist(), c, narrow, arithmetic) for c in column.tolist()]
    return bool(code.dot_products(row, column, arithmetic)[0].tolist() == expected)


# FP16, sign bit, one, infinity
SUM_FORMATS = [(False, 1 << 31, 0x3F800000, 0x7F800000), (True, 1 << 15, 0x3C00, 0x7C00)]


def same_sums(code: SimpleNamespace) -> bool:
    """Entries and drained sums of both formats."""
    random = np.random.default_rng(1)
    for fp16, sign, one, infinity in SUM_FORMATS:
        arithmetic = VARIANTS[0]._replace(fp16_psum=fp16, interleave=5)
        ends = np.array([0, 1, one, infinity - 1, infinity], np.uint32)
        for trial in range(150):
            near = one ^ random.integers(0, 8, 9, dtype=np.uint32)
            dots = [random.integers(0, 2 * sign, 9, dtype=np.uint32), random.choice(ends, 9), near][trial % 3]
            dots ^= random.choice(np.array([0, sign], np.uint32), 9)
            entries = code.accumulate(dots.reshape(9, 1, 1), arithmetic)
            expected = pe_oracle.accumulate(dots.tolist(), 5, fp16)
            if entries[0, :, 0].tolist() != expected:
                return False
            if code.drain(entries, arithmetic).tolist() != [[pe_oracle.drain(expected, fp16)]]:
                return False
    return True


def same_products(code: SimpleNamespace) -> bool:
    """Matrix products with either kind of scale."""
    random = np.random.default_rng(2)
    for arithmetic in VARIANTS[::2]:
        rows, columns = draw(random, "wide", (1, 22)), weights(random, "int4", (2, 22))
        scales = draw(random, "normal", (3, 2))
        channel = code.matmul(rows, columns, arithmetic, 4, scales[0])
        grouped = code.matmul(rows, columns, arithmetic, 4, scales, 8)
        for n, column in enumerate(columns.tolist()):
            own, operands = scales[:, n].tolist(), (rows[0].tolist(), column, True, arithmetic, 4)
            if channel.view(np.uint32)[0, n] != pe_oracle.matmul(*operands, scale=own[0]):
                return False
            if grouped.view(np.uint32)[0, n] != pe_oracle.matmul(*operands, group_scales=own, group=8):
                return False
    return True


@pytest.mark.parametrize("check", [same_dots, same_sums, same_products])
def test_without_a_fault_all_agree(check: Callable[[SimpleNamespace], bool]) -> None:
    assert check(interpreted())


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("dot_product", "PRODUCT_BITS - arithmetic.product_bits", "PRODUCT_BITS + 1 - arithmetic.product_bits"),
        ("dot_product", "return arithmetic.product_bits - INT4", "return arithmetic.product_bits + 1 - INT4"),
        ("dot_product", "drop - 2 * ZERO_EXPONENT", "-2 * ZERO_EXPONENT"),
        ("dot_product", "half = 1 if", "half = 0 if"),
        ("dot_product", "- (own + exponents[k, lane]), GONE)", "- (own + exponents[k, lane]) + 1, GONE)"),
        ("dot_product", "GONE = 31", "GONE = 9"),
        ("dot_product", "+ tree.half) >> 1", "+ tree.half * (product > 0)) >> 1"),
        ("dot_product", ">> tree.drop << 1", "<< 1 >> tree.drop"),
        ("dot_product", "-aligned if product < 0 else aligned", "aligned"),
        ("dot_product", "largest[lane] = NOTHING", "largest[lane] = 20"),
        ("dot_product", "if rows.special.any() or columns.special.any()", "if rows.special.any()"),
        ("operands", "exponents[block, k, lane] = 0", "exponents[block, k, lane] = 1"),
        ("operands", "np.full(blocks, NOTHING, np.int8)", "np.full(blocks, 30, np.int8)"),
        ("operands", "return -value if sign_of(bits, FP16) else value", "return value"),
        ("floating_point", ">> form.fraction_bits, 1)", ">> form.fraction_bits, 0)"),
        ("floating_point", "| (hidden if bits & form.infinity else 0)", "| hidden"),
        ("special_values", "if is_nan(product, FP32):", "if False:"),
        ("special_values", "if positive and negative:", "if False:"),
        ("conversion", "or (rest == half and kept & 1)", "or rest == half"),  # half up instead of even
        ("conversion", "rest > half or", "rest > half + 1 or"),
        ("conversion", "        if nearest:\n", "        if True:\n"),
        ("conversion", "1 - form.bias)", "2 - form.bias)"),
        ("conversion", "form.infinity if nearest else form.infinity - 1", "form.infinity"),
        ("conversion", "round_magnitude(total < 0,", "round_magnitude(total <= 0,"),
        ("conversion", "    if magnitude == 0:", "    if False:"),
    ],
)  # fmt: skip
def test_a_fault_in_a_dot_product_is_found(module: str, old: str, new: str) -> None:
    assert not same_dots(interpreted(module, old, new))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("psum", "GUARD = 3", "GUARD = 1"),
        ("psum", "FAR_APART = 31", "FAR_APART = 7"),
        ("psum", "aligned |= 1 if aligned << shift != small else 0", "pass"),  # sticky bit dropped
        ("psum", "negative = negative and total != 0", "pass"),  # x + (−x) = −0
        ("psum", "is_nan(a, form) or opposed", "is_nan(a, form)"),
        ("psum", "total = large - aligned", "total = large + aligned"),
        ("psum", "a, b = b, a", "a, b = b, a ^ form.sign"),
        ("psum", "tile % arithmetic.interleave", "0"),
        ("psum", "range(0, slots - stride, 2 * stride)", "range(0, slots - stride, 3 * stride)"),
        ("psum", "    if arithmetic.fp16_psum:\n", "    if False:\n"),
        ("psum", "return FP32.nan", "return bits << 13"),
        ("conversion", "or (rest == half and kept & 1)", "or rest == half"),
        ("conversion", "magnitude << -drop", "magnitude"),
    ],
)
def test_a_fault_in_a_sum_is_found(module: str, old: str, new: str) -> None:
    assert not same_sums(interpreted(module, old, new))


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("matmul", "tile * dot_length // group", "tile * dot_length // group // 2"),
        ("matmul", "if scales is not None and group is not None", "if False"),
        ("matmul", "if scales is not None and group is None", "if False"),
        ("matmul", "add_tile(dots, tile,", "add_tile(dots, tile // 2,"),
        ("multiplication", "!= sign_of(b, b_form)", "!= 0"),
        ("multiplication", "- form.bias", "- form.bias + 1"),
    ],
)  # fmt: skip
def test_a_fault_in_a_matrix_product_is_found(module: str, old: str, new: str) -> None:
    assert not same_products(interpreted(module, old, new))


def test_a_fault_that_is_not_planted_is_told() -> None:
    with pytest.raises(AssertionError, match="occurs 0 times in psum"):
        interpreted("psum", "no such line", "")
