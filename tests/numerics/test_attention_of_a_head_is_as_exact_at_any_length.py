"""QKᵀ → online softmax → PV in the overlay's numerics against float64, on the same FP16 operands."""

import pytest

from skipopu.numerics.attention import LENGTHS, attention_error
from skipopu.spec.overlay import Overlay

# Scores, probabilities and results are rounded to FP16, each up to 2^−11 of itself.
MOST = 3 * 2.0**-11
SHORT, LONG = 64, LENGTHS[-1]


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("settings", [(), ("pe_array.product_bits=22",)], ids=["as built", "whole products"])
def test_the_error_stays_below_that_of_its_three_roundings(tokens: int, settings: tuple[str, ...]) -> None:
    assert attention_error(tokens, Overlay.load("skipopu-u280", settings))[0] <= MOST


def test_the_error_does_not_drift() -> None:
    """64 times as many tokens."""
    overlay = Overlay.load("skipopu-u280")
    short, long = (max(attention_error(tokens, overlay, seed)[0] for seed in range(4)) for tokens in (SHORT, LONG))
    assert long <= 1.5 * short
