"""The constants in Verilator: reads find what was written last, streams of router weights come without a gap."""

import pytest

from skipopu.hdl.constants import Constants
from skipopu.hdl.constants_memory import ConstantsMemory
from skipopu.hdl.cosim.constants import cosimulate
from skipopu.hdl.global_buffer import GlobalBuffer
from skipopu.hdl.router_weights import RouterWeights
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

SEED, CYCLES = 1, 3000
VARIANTS = {
    "wide router words, row tiles of two words, beta": (
        "ker.constant_bytes_per_cycle=256", "npe.layer_norm=true", "npe.lanes=4", "global_buffer.read_stages=3",
        "pe_array.dot_length=128", "constants.half_bytes=2048",
    ),
    "narrow router words, one stage": ("ker.constant_bytes_per_cycle=16", "global_buffer.read_stages=1"),
    "router words of both channels": ("ker.constant_bytes_per_cycle=128", "pe_array.dot_length=512"),
}  # fmt: skip


def test_tiny() -> None:
    words, difference = cosimulate(Overlay.load("tiny"), CYCLES, SEED)
    assert difference is None, str(difference)
    assert words > 0


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings: tuple[str, ...]) -> None:
    words, difference = cosimulate(Overlay.load("tiny", settings), CYCLES, SEED)
    assert difference is None, str(difference)
    assert words > 0


@pytest.mark.slow
@pytest.mark.usefixtures("converted_anew")
def test_the_end_of_a_word_from_the_wrong_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RouterWeights, "_behind", lambda self, bank, phase: phase >= bank)
    assert cosimulate(Overlay.load("tiny", ("ker.constant_bytes_per_cycle=256",)), CYCLES, SEED)[1] is not None


@pytest.mark.slow
@pytest.mark.usefixtures("converted_anew")
def test_halves_that_are_one_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = ConstantsMemory._place
    monkeypatch.setattr(ConstantsMemory, "_place", lambda self, half, row: right(self, half & 0, row))
    assert cosimulate(Overlay.load("tiny"), CYCLES, SEED)[1] is not None


def test_words_that_are_no_power_of_two_are_refused() -> None:
    with pytest.raises(SpecError) as error:
        Constants(overlay=Overlay.load("tiny", ("ker.constant_bytes_per_cycle=48",)))
    assert str(error.value) == (
        "overlay tiny: constants are read 48 bytes at a time; must be a power of two (npe.lanes, pe_array.columns,"
        " pe_array.dot_length, ker.constant_bytes_per_cycle); nearest: 32"
    )


def test_a_half_of_broken_words_is_refused() -> None:
    with pytest.raises(SpecError) as error:
        Constants(overlay=Overlay.load("tiny", ("constants.half_bytes=1000",)))
    assert str(error.value) == (
        "overlay tiny: constants.half_bytes = 1000; a half is filled 128 bytes at a time; nearest: 896"
    )


def test_a_word_of_results_that_lies_in_two_row_tiles_is_refused() -> None:
    with pytest.raises(SpecError) as error:
        GlobalBuffer(overlay=Overlay.load("tiny", ("npe.lanes=6",)))
    assert str(error.value) == (
        "overlay tiny: npe.lanes = 6, pe_array.columns = 8; a word of 6 results must divide a row tile of"
        " pe_array.dot_length = 16; nearest: npe.lanes=4"
    )
