"""Accuracy figures: each is what its definition gives in fractions, and the variants rank as they must."""

import math
from fractions import Fraction

import numpy as np
import pe_oracle
import pytest
from fp16_operands import draw, weights

from skipopu.numerics import accuracy, benchmark
from skipopu.numerics.accuracy import Accuracy, measure, normal_operands, variants
from skipopu.numerics.arithmetic import Arithmetic
from skipopu.numerics.operands import Activations, Weights
from skipopu.spec.error import SpecError

DIGITS = 1e-12  # binary64 against fractions: a few roundings of 2^-53


def expected(activations: Activations, weights: Weights, arithmetic: Arithmetic) -> tuple[float, ...]:
    """The five figures, from fractions and the oracle's dot products."""
    narrow, relative, scaled, shrinkage = weights.dtype == np.int8, [], [], []
    for row in activations.tolist():
        for column in weights.tolist():
            left = [Fraction(pe_oracle.value_of(a, True)) for a in row]
            right = [Fraction(w if narrow else pe_oracle.value_of(w, True)) for w in column]
            products = [a * w for a, w in zip(left, right, strict=True)]
            exact, magnitude = sum(products), sum(map(abs, products))
            bits = pe_oracle.dot(row, column, narrow, arithmetic)
            error = Fraction(pe_oracle.value_of(bits, arithmetic.fp16_psum)) - exact
            relative += [abs(error / exact)] if exact else []
            scaled += [error / magnitude] if magnitude else []
            shrinkage += [(-error if exact > 0 else error) / magnitude if exact else 0] if magnitude else []
    means = [float(sum(x) / len(x)) for x in (relative, scaled, shrinkage)]
    return means[0], float(max(relative)), float(max(map(abs, scaled))), means[1], means[2]


def figures(row: Accuracy) -> tuple[float, ...]:
    return row.mean_relative, row.max_relative, row.max_scaled, row.bias, row.shrinkage


@pytest.mark.parametrize("kind", ["normal", "int4"])
@pytest.mark.parametrize("length", [5, 16])
def test_figures_follow_their_definitions(kind: str, length: int) -> None:
    random = np.random.default_rng(length)
    activations, columns = draw(random, "normal", (3, length)), weights(random, kind, (4, length))
    activations[0] = 0  # exact zeros and sums of magnitudes of zero are left out
    rows = measure(activations, columns)
    assert [r.arithmetic for r in rows] == variants()
    assert len({r.arithmetic for r in rows}) == 16
    for row in rows:
        assert (row.dots, row.length, row.weights) == (12, length, "int4" if kind == "int4" else "fp16")
        for found, exact in zip(figures(row), expected(activations, columns, row.arithmetic), strict=True):
            assert math.isclose(found, exact, rel_tol=DIGITS, abs_tol=DIGITS * row.max_scaled)


@pytest.mark.parametrize("int4", [False, True])
def test_better_arithmetic_is_more_accurate(int4: bool) -> None:
    found = {r.arithmetic[:4]: r for r in measure(*normal_operands(32, 32, 64, 7, int4=int4))}
    for (_bits, alignment, output, fp16), row in found.items():
        assert row.max_scaled >= found[22, alignment, output, fp16].max_scaled
        if not fp16:  # rounding to FP16 hides what comes before
            assert row.mean_relative >= found[row.arithmetic.product_bits, True, output, fp16].mean_relative
    narrow = found[15, False, True, False]
    assert found[22, False, True, False].mean_relative < narrow.mean_relative / 16


@pytest.mark.parametrize("int4", [False, True])
def test_errors_stay_below_what_is_dropped(int4: bool) -> None:
    """Each of 64 products loses less than two steps of the shared exponent; FP32 holds their sum."""
    activations, columns = normal_operands(16, 16, 64, 8, int4=int4)
    left, right = accuracy.values_of(activations), accuracy.values_of(columns)
    exact, magnitude = accuracy.exact_dots(left, right)
    largest = np.abs(left[:, None] * right).max(axis=2)
    for row in measure(activations, columns):
        # a shared exponent of a product p stands for up to 2^3·p (INT4: weight 1 in four bits), W bits below
        step = largest * 2.0 ** (4 - row.arithmetic.product_bits)
        rounding = np.abs(exact) * (2.0**-10 if row.arithmetic.fp16_psum else 2.0**-23)
        assert row.max_scaled <= ((64 * 2 * step + rounding) / magnitude).max()


def test_operands_that_are_exact_have_no_error() -> None:
    ones = np.full((2, 16), 0x3C00, np.uint16)
    for row in measure(ones, ones) + measure(ones, np.full((2, 16), -8, np.int8)):
        assert figures(row) == (0, 0, 0, 0, 0)


def test_truncation_toward_zero_shrinks_results() -> None:
    """1 + 2^-14 in 15 bits and 1 − 2^-14 lose the small product: −2^-14 and +2^-14 over 1 + 2^-14."""
    activations = np.array([[0x3C00, 0x0400]], np.uint16)  # 1, 2^-14
    columns = np.array([[1, 1], [-1, -1]], np.int8)
    row = next(r for r in measure(activations, columns) if r.arithmetic[:4] == (15, False, True, False))
    one = float(Fraction(1, 2**14) / (1 + Fraction(1, 2**14)))
    assert (row.max_scaled, row.bias, row.shrinkage, row.max_relative) == (one, 0, one, one)


def test_operands_are_those_of_the_seed() -> None:
    for int4 in (False, True):
        first, again = (normal_operands(4, 5, 64, 1, int4=int4) for _ in range(2))
        assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
        assert not np.array_equal(first[1], normal_operands(4, 5, 64, 2, int4=int4)[1])
        assert measure(*first) == measure(*again)
    assert np.abs(again[1]).max(axis=1).tolist() == [7] * 5


@pytest.mark.parametrize("bits", [0x7C00, 0x7E00])
def test_special_values_are_refused(bits: int) -> None:
    with pytest.raises(SpecError, match="valid: finite"):
        measure(np.full((1, 4), bits, np.uint16), np.ones((1, 4), np.int8))


def test_the_benchmark_prints_rates_and_ratios(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ROWS": 4, "COLUMNS": 150, "NUMPY_ROWS": 2, "REPEATS": 1}.items():
        monkeypatch.setattr(benchmark, name, value)
    benchmark.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line[:16].strip() for line in lines] == [
        "fp16 kernel", "fp16 numpy int64", "int4 kernel", "int4 numpy int64",
    ]  # fmt: skip
    assert all("M products/s" in line and "× fp16 kernel" in line for line in lines)
