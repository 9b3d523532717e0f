"""Operands for function units: anything, the ends of every range, numbers close to one another."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.floating_point import FP16, FP32, Format

COUNT = 20_480  # cases of a unit whose operands cannot all be tried
FORMS = {"fp16": FP16, "fp32": FP32}
Case = tuple[int, ...]
Cases = Callable[[np.random.Generator], Sequence[Case]]
Words = NDArray[np.int64]


def every_fp16(_: np.random.Generator) -> Sequence[Case]:
    """All words of 16 bits."""
    return [(word,) for word in range(1 << 16)]


def numbers(*names: str) -> Cases:
    """Return what makes cases of one number of each format: any bits, middling exponents, ends with ends."""

    def cases(rng: np.random.Generator) -> Sequence[Case]:
        columns = [_mixed(rng, FORMS[name]) for name in names]
        corners = np.stack([rng.permutation(_ends(rng, FORMS[name], COUNT // 8)) for name in names], -1)
        return _tuples(np.concatenate([np.stack(columns, -1), corners]))

    return cases


def close_numbers(name: str, count: int) -> Cases:
    """Return what makes cases of ``count`` numbers of a format, half of them of nearly equal magnitudes."""

    def cases(rng: np.random.Generator) -> Sequence[Case]:
        form = FORMS[name]
        apart = np.stack([_mixed(rng, form)[: COUNT // 2] for _ in range(count)], -1)
        last, sign = rng.integers(0, 4, apart.shape), form.sign * rng.integers(0, 2, apart.shape)
        near = apart[:, :1] ^ last * rng.integers(0, 2, apart.shape) ^ sign
        return _tuples(np.concatenate([apart, near]))

    return cases


def _mixed(rng: np.random.Generator, form: Format) -> Words:
    """Any bits; exponents near 1 and near the largest and smallest; ends."""
    anything = rng.integers(0, 2 * form.sign, COUNT)
    middling = _near(rng, form, form.bias, COUNT // 2)
    low, high = _near(rng, form, 2, COUNT // 8), _near(rng, form, 2 * form.bias - 2, COUNT // 8)
    return rng.permutation(np.concatenate([anything, middling, low, high, _ends(rng, form, COUNT // 8)]))[:COUNT]


def _near(rng: np.random.Generator, form: Format, exponent: int, count: int) -> Words:
    """Random fractions at exponents within ±4 of ``exponent``."""
    fields = np.clip(exponent + rng.integers(-4, 5, count), 0, 2 * form.bias)
    fraction = rng.integers(0, 1 << form.fraction_bits, count)
    return fields << form.fraction_bits | fraction | form.sign * rng.integers(0, 2, count)


def _ends(rng: np.random.Generator, form: Format, count: int) -> Words:
    """Half of them of few kinds: zero, infinity, NaN, the least, one; the others powers of two and their neighbours."""
    hidden, one = 1 << form.fraction_bits, form.bias << form.fraction_bits
    few = np.array([0, form.infinity, form.nan, form.sign - 1, 1, one], np.int64)
    many = [2, 3, hidden - 1, hidden, hidden + 1, one - 1, one + 1, form.infinity - 1, form.infinity + 1]
    many += [1 << bit for bit in range(form.fraction_bits)]
    many += [field << form.fraction_bits for field in range(0, 2 * form.bias, max(form.bias // 16, 1))]
    found = np.where(rng.integers(0, 2, count), rng.choice(few, count), rng.choice(np.array(many, np.int64), count))
    return found | form.sign * rng.integers(0, 2, count)


def _tuples(table: Words) -> Sequence[Case]:
    return [tuple(row) for row in table.tolist()]
