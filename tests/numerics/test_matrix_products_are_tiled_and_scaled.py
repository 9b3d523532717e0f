"""Matrix products: K-tiles through PSUM, K padded with zeros, scales per channel and per group."""

from typing import Any

import numpy as np
import pe_oracle
import pytest
from fp16_operands import ENDS, VARIANTS, draw, weights
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.floating_point import FP16, FP32
from skipopu.numerics.matmul import matmul
from skipopu.numerics.multiplication import multiply
from skipopu.spec.error import SpecError

NAN = 0x7FC00000


def patterns_of(numbers: Any) -> list[list[int]]:
    found: list[list[int]] = numbers.view(np.uint32).tolist()
    return found


def expected(a: Any, w: Any, arithmetic: Arithmetic, length: int, scales: Any = None, group: int = 0) -> Any:
    narrow = w.dtype == np.int8
    return [
        [
            pe_oracle.matmul(
                row, column, narrow, arithmetic, length,
                scale=None if scales is None or group else int(scales[n]),
                group_scales=scales[:, n].tolist() if group else None, group=group,
            )
            for n, column in enumerate(w.tolist())
        ]
        for row in a.tolist()
    ]  # fmt: skip


@settings(max_examples=200)
@given(st.data(), st.integers(0, 2**32), st.integers(1, 70), st.sampled_from(VARIANTS))
def test_any_product(data: st.DataObject, seed: int, depth: int, arithmetic: Arithmetic) -> None:
    random = np.random.default_rng(seed)
    kinds = st.sampled_from(["finite", "normal", "wide", "subnormal", "sparse"])
    rows = draw(random, data.draw(kinds), (2, depth))
    columns = weights(random, data.draw(st.one_of(kinds, st.just("int4"))), (3, depth))
    arithmetic = arithmetic._replace(interleave=data.draw(st.integers(1, 5)))
    length = data.draw(st.sampled_from([4, 16, 64]))
    found = matmul(rows, columns, arithmetic, length)
    assert patterns_of(found) == expected(rows, columns, arithmetic, length)


@settings(max_examples=100)
@given(st.data(), st.integers(0, 2**32), st.sampled_from(VARIANTS), st.sampled_from(["normal", "int4"]))
def test_channel_scales(data: st.DataObject, seed: int, arithmetic: Arithmetic, kind: str) -> None:
    random = np.random.default_rng(seed)
    rows, columns = draw(random, "wide", (2, 40)), weights(random, kind, (4, 40))
    scales = draw(random, data.draw(st.sampled_from(["any", "normal", "subnormal", "ends"])), (1, 4))[0]
    found = matmul(rows, columns, arithmetic, 16, scales)
    assert patterns_of(found) == expected(rows, columns, arithmetic, 16, scales)


@settings(max_examples=100)
@given(st.data(), st.integers(0, 2**32), st.sampled_from(VARIANTS), st.sampled_from([16, 32, 48]))
def test_group_scales(data: st.DataObject, seed: int, arithmetic: Arithmetic, group: int) -> None:
    random = np.random.default_rng(seed)
    arithmetic = arithmetic._replace(fp16_psum=False)
    rows, columns = draw(random, "normal", (2, 88)), weights(random, "int4", (4, 88))
    kind = data.draw(st.sampled_from(["any", "normal", "subnormal"]))
    scales = draw(random, kind, (-(-88 // group), 4))
    found = matmul(rows, columns, arithmetic, 16, scales, group)
    assert patterns_of(found) == expected(rows, columns, arithmetic, 16, scales, group)


def test_scales_are_applied_before_accumulation_when_grouped() -> None:
    """1 · 2^-14 + 1 · 1: the channel scale would multiply the sum."""
    rows = np.zeros((1, 32), np.uint16)
    rows[0, ::16] = 0x3C00
    columns = np.ones((1, 32), np.int8)
    scales = np.array([[0x0400], [0x3C00]], np.uint16)
    arithmetic = VARIANTS[0]
    assert matmul(rows, columns, arithmetic, 16, scales, 16).tolist() == [[1 + 2.0**-14]]
    assert matmul(rows, columns, arithmetic, 16, scales[0]).tolist() == [[2.0**-13]]


def test_fp32_by_fp16_is_the_processors_product() -> None:
    random = np.random.default_rng(5)
    a = random.integers(0, 1 << 32, 5000, dtype=np.uint32)
    a[::3] &= np.uint32(0x87FFFFFF)  # products underflow
    a[::7] |= np.uint32(0x7F800000)
    b = random.integers(0, 1 << 16, 5000).astype(np.uint16)
    b[::5] = random.choice(np.array(ENDS, np.uint16), 1000)
    with np.errstate(all="ignore"):
        product = a.view(np.float32) * b.view(np.float16).astype(np.float32)
    expected = np.where(np.isnan(product), NAN, product.view(np.uint32)).tolist()
    found = [multiply(int(x), FP32, int(y), FP16, FP32) for x, y in zip(a, b, strict=True)]
    assert found == expected
    oracle = [pe_oracle.scaled(int(x), int(y)) for x, y in zip(a[:500], b[:500], strict=True)]
    assert found[:500] == oracle


def test_an_infinite_activation_reaches_the_result() -> None:
    random = np.random.default_rng(6)
    rows, columns = draw(random, "normal", (3, 40)), weights(random, "int4", (3, 40))
    rows[1, 39], columns[0, 39] = 0x7C00, 0
    found = matmul(rows, columns, VARIANTS[3], 16)
    assert np.isnan(found[1, 0])
    assert np.isinf(found[1, 1:]).all()
    assert np.isfinite(found[[0, 2]]).all()
    assert patterns_of(found) == expected(rows, columns, VARIANTS[3], 16)


ROWS, COLUMNS = np.zeros((2, 40), np.uint16), np.zeros((3, 40), np.int8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"weights": np.zeros((3, 41), np.int8)}, r"\(2, 40\) and \(3, 41\); valid: \[M, K\]"),
        ({"activations": ROWS[:, :0], "weights": COLUMNS[:, :0]}, "K = 0; valid: 1 or more"),
        ({"scales": np.zeros(2, np.uint16)}, r"scales uint16 \(2,\); valid: uint16 \(FP16 bits\) \(3,\)"),
        ({"scales": np.zeros(3, np.float16)}, r"scales float16 \(3,\); valid: uint16"),
        ({"scales": np.zeros((2, 3), np.uint16), "group": 16}, r"\(2, 3\); valid: .* \(3, 3\)"),
        ({"scales": np.zeros((3, 3), np.uint16), "group": 24}, "group = 24; valid: a multiple of .* 16"),
        ({"scales": np.zeros((3, 3), np.uint16), "group": 0}, "group = 0; valid: a multiple"),
        ({"group": 16}, "group = 16 without scales"),
        ({"scales": np.zeros((3, 3), np.uint16), "group": 16, "arithmetic": VARIANTS[3]}, "psum.format"),
    ],
)  # fmt: skip
def test_what_the_array_cannot_compute_is_refused(change: dict[str, Any], told: str) -> None:
    asked: dict[str, Any] = {
        "activations": ROWS,
        "weights": COLUMNS,
        "arithmetic": VARIANTS[2],
        "dot_length": 16,
    } | change
    with pytest.raises(SpecError, match=told):
        matmul(**asked)
