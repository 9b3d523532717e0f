"""The NPE's operand side in Verilator beside numerics and simulator: every bit, every cycle, random stalls."""

import numpy as np
import pytest

from skipopu.hdl.cosim.npe_operands import cosimulate
from skipopu.hdl.cosim.npe_operands_expected import fp32_bits
from skipopu.hdl.cosim.npe_operands_numbers import NUMBERS, Kind
from skipopu.numerics.normalization import layer_norm, rms_norm
from skipopu.numerics.row_statistics import normalised, row_statistics
from skipopu.spec.overlay import Overlay

TILES, SEED = 1000, 5
FULL = 20_000

# each leaf that shapes the blocks, away from its shipped value at least once
VARIANTS = {
    "LayerNorm": ("npe.layer_norm=true",),
    "fewest stages": (
        "npe.add_stages=2", "npe.scale_stages=1", "npe.narrow_stages=1", "npe.gamma_stages=1", "npe.power_stages=1",
        "npe.divide_stages=1", "npe.maximum_stages=1", "npe.reduce_stages=1", "npe.root_stages=1",
        "global_buffer.read_stages=1",
    ),
    "LayerNorm, more stages than steps, the shorter function waits": (
        "npe.layer_norm=true", "npe.add_stages=5", "npe.scale_stages=7", "npe.narrow_stages=4", "npe.power_stages=8",
        "npe.divide_stages=6", "npe.maximum_stages=6", "npe.reduce_stages=20", "npe.root_stages=8",
        "global_buffer.read_stages=4",
    ),
    "probabilities are the faster function": (
        "npe.power_stages=2", "npe.divide_stages=1", "npe.gamma_stages=7", "npe.reduce_stages=6",
    ),
    "words of results wider than row tiles, rows no power of two": (
        "pe_array.columns=24", "npe.lanes=20", "npe.statistics_rows=37",
    ),
    "three rows of statistics": ("npe.statistics_rows=3",),
}  # fmt: skip


def agree(overlay: Overlay, tiles: int = TILES) -> None:
    found = cosimulate(overlay, tiles, SEED)
    assert found.difference is None, str(found.difference)
    assert min(found.functions.values()) >= tiles


def test_tiny() -> None:
    agree(Overlay.load("tiny"), 500)


@pytest.mark.slow
def test_twenty_thousand_tiles_of_every_function() -> None:
    agree(Overlay.load("tiny"), FULL)


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", settings))


@pytest.mark.slow
def test_tiles_of_64_numbers() -> None:
    agree(Overlay.load("tiny", ("pe_array.dot_length=64", "npe.lanes=64")), 300)


@pytest.mark.parametrize("centred", [False, True], ids=["RMSNorm", "LayerNorm"])
@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.__name__)
def test_tiles_are_normalised_as_the_rows_they_make_up(kind: Kind, centred: bool) -> None:
    """The oracle that sees every step of the statistics, beside the one that takes rows whole."""
    tiles, rows, lanes = shape = (5, 7, 16)
    rng, epsilon = np.random.default_rng(SEED), 1e-5
    x, gamma, beta = kind(shape, rng), *(kind((tiles, lanes), rng) for _ in range(2))
    whole = x.swapaxes(0, 1).reshape(rows, -1)
    if centred:
        expected = layer_norm(whole, gamma.ravel(), beta.ravel(), epsilon, lanes)
    else:
        expected = rms_norm(whole, gamma.ravel(), epsilon, lanes)
    statistics = row_statistics(x, fp32_bits(1 / (tiles * lanes)), fp32_bits(epsilon), centred=centred)
    found = normalised(x, statistics, gamma, beta if centred else None)
    assert (found.swapaxes(0, 1).reshape(rows, -1) == expected).all()


@pytest.mark.parametrize("setting", [
    "npe.gamma_stages=6",
    *(
        pytest.param(each, marks=pytest.mark.slow)
        for each in ("npe.divide_stages=7", "npe.reduce_stages=11", "npe.root_stages=5", "npe.maximum_stages=4",
                     "global_buffer.read_stages=3")
    ),
])  # fmt: skip
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    """The model of one overlay beside the RTL of another: the first cycle that differs is named."""
    found = cosimulate(Overlay.load("tiny", (setting,)), TILES, SEED, rtl=Overlay.load("tiny"))
    assert found.difference is not None
    assert found.difference.kind == "cycle"
    assert "moves" in found.difference.signal
