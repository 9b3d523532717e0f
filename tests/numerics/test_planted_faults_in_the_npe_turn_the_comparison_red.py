"""A wrong line in the numerics of the NPE is noticed by the comparison that the other tests make."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from interpreted import interpreted
from numpy.typing import NDArray

from skipopu.numerics.ulp import Reals, numbers, ulps

Check = Callable[[SimpleNamespace], bool]
SAMPLE = np.arange(0x0400, 0x7C00, 61, dtype=np.uint32).astype(np.uint16)
LANES, LENGTH = 16, 100


def within(found: NDArray[np.uint16], exact: Reals) -> bool:
    defined = np.isfinite(exact)
    return bool(ulps(found, exact)[defined].max() <= 0.52)


def right_functions(code: SimpleNamespace) -> bool:
    """Samples of both signs where there is a value."""
    both = np.concatenate([SAMPLE, SAMPLE | 0x8000]).astype(np.uint16)
    x, positive = numbers(both), numbers(SAMPLE)
    with np.errstate(all="ignore"):
        pairs = [
            (code.exponentials(both), np.exp(x)), (code.reciprocals(both), 1 / x),
            (code.reciprocal_roots(SAMPLE), 1 / np.sqrt(positive)), (code.silus(both), x / (1 + np.exp(-x))),
        ]  # fmt: skip
    return all(within(found, exact) for found, exact in pairs)


def right_softmax(code: SimpleNamespace) -> bool:
    """A rising and a falling row, tile by tile."""
    scores = np.stack([np.linspace(-9, 9, LENGTH), np.linspace(8, -3, LENGTH)]).astype(np.float16)
    tiles = [scores[:, first : first + LANES].view(np.uint16) for first in range(0, LENGTH, LANES)]
    state = code.softmax_state(2)
    for tile in tiles:
        code.add_scores(state, tile)
    found = np.concatenate([code.probabilities(state, tile) for tile in tiles], axis=1)
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True).astype(np.float64))
    exact = (powers / powers.sum(axis=1, keepdims=True)).astype(np.longdouble)
    return bool(ulps(found, exact).max() <= 0.6)


def right_rows(code: SimpleNamespace) -> bool:
    """Normalised rows, turned pairs, decisions."""
    random = np.random.default_rng(0)
    x = random.standard_normal((2, 40)).astype(np.float16)
    wide = x.astype(np.longdouble)
    norm = code.rms_norm(x.view(np.uint16), np.full(40, 0x3C00, np.uint16), 1e-5, LANES)
    angles = random.uniform(-3, 3, (2, 20))
    c, s = np.cos(angles).astype(np.float16), np.sin(angles).astype(np.float16)
    turned = code.rotate(*(each.view(np.uint16) for each in (x, c, s))).view(np.float16)
    even, odd = x[:, ::2].astype(np.float32), x[:, 1::2].astype(np.float32)
    logits = np.array([[1, 2], [2, 1], [-1, 1], [1, -1], [-1, -2]], np.float32)
    return (
        within(norm, wide / np.sqrt((wide**2).mean(axis=1, keepdims=True) + 1e-5))
        and np.array_equal(turned[:, ::2], (even * c - odd * s).astype(np.float16))
        and np.array_equal(turned[:, 1::2], (odd * c + even * s).astype(np.float16))
        and code.executed(logits.view(np.uint32)).tolist() == [False, True, False, True, True]
    )


FAULTS: dict[str, tuple[Check, str, str, str]] = {
    "the running maximum is not kept": (
        right_softmax, "softmax", "state.maximum[row] = maximum", "state.maximum[row] = bits_of(scores[0])"
    ),
    "the sum is not rescaled to a larger maximum": (
        right_softmax, "softmax", "if maximum != before:", "if maximum == NEGATIVE_INFINITY:"
    ),
    "statistics of the row before are used": (
        right_softmax, "softmax", "bits_of(state.maximum[row]), bits_of(state.total[row])",
        "bits_of(state.maximum[row - 1]), bits_of(state.total[0])",
    ),
    "the sum loses the first lane": (
        right_softmax, "reduction", "for lane in range(count):\n        aligned",
        "for lane in range(1, count):\n        aligned",
    ),
    "log2 e is off in its last bit": (
        right_functions, "exponential", "CONSTANT_BITS) / Decimal(2).ln()", "CONSTANT_BITS) / Decimal(2).ln() + 9"
    ),
    "a line begins in the wrong segment": (
        right_functions, "line_table", "table.base[segment]", "table.base[segment ^ 1]"
    ),
    "odd exponents take the even table": (right_functions, "reciprocal", "if exponent & 1:", "if exponent & 2:"),
    "SiLU forgets the power below zero": (right_functions, "silu", "if argument >= 0:", "if argument >= -(9 << 18):"),
    "the mean of squares is over a lane less": (right_rows, "normalization", "1 / x.shape[1]", "1 / (x.shape[1] - 1)"),
    "the rotation's pair is swapped": (
        right_rows, "rotary", "bits_of(vectors[row, 2 * pair]), bits_of(vectors[row, 2 * pair + 1])",
        "bits_of(vectors[row, 2 * pair + 1]), bits_of(vectors[row, 2 * pair])",
    ),
    "the router's logits are swapped": (
        right_rows, "router", "bits_of(logits[token, 0]), bits_of(logits[token, 1])",
        "bits_of(logits[token, 1]), bits_of(logits[token, 0])",
    ),
}  # fmt: skip


@pytest.mark.parametrize("check", [right_functions, right_softmax, right_rows])
def test_without_a_fault_it_is_green(check: Check) -> None:
    assert check(interpreted())


@pytest.mark.parametrize(("check", "module", "old", "new"), FAULTS.values(), ids=FAULTS)
def test_the_fault_is_found(check: Check, module: str, old: str, new: str) -> None:
    assert not check(interpreted(module, old, new))
