"""The result path's RTL in Verilator beside numerics and simulator: every bit, every cycle, random stalls."""

import numpy as np
import pytest

from skipopu.hdl.cosim.npe_results import cosimulate
from skipopu.hdl.cosim.npe_results_stimulus import KIND_OF, Stimulus
from skipopu.numerics.floating_point import FP16, FP32
from skipopu.spec.overlay import Overlay

WORDS, SEED = 600, 5
FULL = 20_000

# each leaf that shapes the block, away from its shipped value at least once
VARIANTS = {
    "a row in two words, packed heads in one each": ("pe_array.columns=32",),
    "a row in three words, packed heads in four, not all lanes in use": ("pe_array.columns=10", "npe.lanes=4"),
    "a last word that is not full, a cycle a step": (
        "pe_array.columns=6", "npe.lanes=4", "npe.add_stages=2", "npe.scale_stages=1", "npe.narrow_stages=1",
        "npe.function_stages=1",
    ),
    "one entry a row, totals that wait for scales": (
        "pe_array.columns=2", "pe_array.accumulate_stages=1", "psum.interleave=1", "global_buffer.read_stages=7",
    ),
    "three entries, GELU": (
        "pe_array.columns=4", "pe_array.accumulate_stages=3", "psum.interleave=3", "npe.gelu=true",
        "npe.function_stages=7",
    ),
    "eight entries, FP16 sums": ("pe_array.columns=4", "psum.interleave=8", "psum.format=fp16"),
    "long pipelines, scales at once": (
        "pe_array.columns=4", "npe.add_stages=5", "npe.scale_stages=9", "npe.narrow_stages=4",
        "npe.function_stages=30", "psum.interleave=5", "global_buffer.read_stages=1", "npe.statistics_rows=3",
    ),
}  # fmt: skip


def narrow(*settings: str) -> Overlay:
    """``tiny`` with two column pairs, which is built in half a minute."""
    return Overlay.load("tiny", ("pe_array.columns=4", *settings))


def agree(overlay: Overlay, words: int = WORDS) -> None:
    found = cosimulate(overlay, words, SEED)
    assert found.difference is None, str(found.difference)
    assert set(found.functions) == set(KIND_OF) - (set() if overlay.npe.gelu else {"gelu"})
    assert min(found.functions.values()) >= words


def test_two_column_pairs() -> None:
    agree(narrow())


@pytest.mark.slow
def test_two_column_pairs_of_the_u280() -> None:
    agree(Overlay.load("skipopu-u280", ("pe_array.columns=4", "dma.hbm_ports=1")))


@pytest.mark.slow
def test_twenty_thousand_words_of_every_function() -> None:
    agree(Overlay.load("tiny"), FULL)


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", settings))


@pytest.mark.slow
@pytest.mark.parametrize("setting", [
    "npe.add_stages=3", "npe.scale_stages=7", "npe.narrow_stages=1", "npe.function_stages=17",
    "psum.interleave=5",
])  # fmt: skip
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    """The model of one overlay beside the RTL of another: the first cycle that differs is named."""
    found = cosimulate(narrow(setting), WORDS, SEED, rtl=narrow())
    assert found.difference is not None
    assert found.difference.kind == "cycle"


@pytest.mark.slow
def test_side_data_of_another_cycle_are_found_out() -> None:
    setting = "global_buffer.read_stages=3"
    found = cosimulate(narrow(setting), WORDS, SEED, rtl=narrow())
    assert found.difference is not None
    assert found.difference.kind == "result"


def test_the_work_reaches_what_it_must() -> None:
    """Rows of 1 and of hundreds, every number of slots, both ways of splitting, K/V rounds one after the other."""
    overlay = Overlay.load("tiny")
    work = Stimulus(overlay, np.random.default_rng(SEED)).operations(FULL)
    assert {o.slots for o in work} == set(range(1, 1 + overlay.psum.interleave))
    assert {o.rows for o in work} >= {1, 2, 3}
    assert max(o.rows for o in work) > 2000
    for kind in set(KIND_OF) - {"gelu"}:
        mine = [o for o in work if o.kind == kind]
        assert {o.bias for o in mine} == {False, True}
        assert kind == "route" or {o.split for o in mine} == {False, True}
    scores = [o for o in work if o.kind == "scores"]
    assert any(o.blocks > o.round_blocks > 1 for o in scores)
    assert any(o.rows * (1 + o.split) * o.round_blocks == overlay.npe.statistics_rows for o in scores)
    rope = [o for o in work if o.kind == "rope"]
    assert any(o.blocks * o.words > o.rotary_words > o.words for o in rope)


@pytest.mark.parametrize("name", ["sums", "scale", "biases", "residuals"])
def test_every_kind_of_number_takes_part(name: str) -> None:
    work = Stimulus(Overlay.load("tiny"), np.random.default_rng(SEED)).operations(WORDS)
    bits = np.concatenate([getattr(o, name).ravel() for o in work])
    form = {2: FP16, 4: FP32}[bits.dtype.itemsize]
    magnitude = bits & (form.sign - 1)
    assert (magnitude > form.infinity).any()
    assert (magnitude == form.infinity).any()
    assert (magnitude == 0).sum() > 100
    assert ((magnitude > 0) & (magnitude & form.infinity == 0)).any()
