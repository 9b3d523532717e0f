"""The PE array's RTL in Verilator beside numerics and simulator: every bit, every cycle, random stalls."""

import pytest

from skipopu.hdl.cosim.pe_array import cosimulate
from skipopu.hdl.pe_array import PeArray
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

TILES, SEED = 600, 5
FULL = 20_000
SLICE = ("pe_array.columns=8", "dma.hbm_ports=2")

# each leaf that shapes the block, away from its shipped value at least once
VARIANTS = {
    "dsp tree": ("pe_array.tree=dsp", "pe_array.tree_stages=4"),
    "whole products, FP16 sums": (
        "pe_array.product_bits=22", "pe_array.alignment_rounding=nearest", "pe_array.output_rounding=toward_zero",
        "psum.format=fp16",
    ),
}  # fmt: skip
MORE_VARIANTS = {
    "tiles that begin within a word, more lanes than columns of a head, many words a tile of router weights": (
        "pe_array.columns=6", "dma.hbm_ports=3", "ker.constant_bytes_per_cycle=16", "pe_array.broadcast_stages=3",
        "ifm.rows=3", "pe_array.multiply_stages=7", "pe_array.accumulate_stages=6", "psum.interleave=7",
    ),
    "one cycle a step": (
        "pe_array.multiply_stages=1", "pe_array.align_stages=1", "pe_array.tree_stages=1", "pe_array.convert_stages=1",
        "pe_array.accumulate_stages=1", "psum.interleave=1", "psum.format=fp16",
    ),
    "many tiles in a word, an odd buffer": (
        "dma.hbm_ports=8", "pe_array.multiply_stages=2", "pe_array.align_stages=3", "pe_array.convert_stages=5",
        "pe_array.accumulate_stages=3", "psum.interleave=3", "psum.entries=17", "ker.constant_bytes_per_cycle=256",
    ),
    "tiles of V in several chunks, more columns than they need": (
        "pe_array.columns=36", "clock.hbm_ratio=1", "kv_buffer.ports=14", "dataflow.packed_heads=2",
    ),
    "two heads, many tiles in a chunk": (
        "pe_array.columns=12", "clock.hbm_ratio=8", "dataflow.packed_heads=2", "pe_array.broadcast_stages=2",
    ),
    "two heads in two chunks": ("pe_array.columns=4", "pe_array.dot_length=32", "dataflow.packed_heads=2"),
    "sums wider than FP32, toward zero": (
        "pe_array.multiply_stages=3", "pe_array.output_rounding=toward_zero", "pe_array.product_bits=22",
        "pe_array.tree_stages=9",
    ),
    "a width between": ("pe_array.product_bits=18", "pe_array.alignment_rounding=nearest"),
}  # fmt: skip


def narrow(*settings: str) -> Overlay:
    """``tiny`` with one column pair, which is built in seconds."""
    return Overlay.load("tiny", ("pe_array.columns=2", "dataflow.packed_heads=1", *settings))


def agree(overlay: Overlay, tiles: int = TILES) -> None:
    found = cosimulate(overlay, tiles, SEED)
    assert found.difference is None, str(found.difference)
    assert found.tiles >= tiles
    assert found.entries > 0
    assert min(found.kinds[kind] for kind in ("weights", "keys", "values", "constants", "nothing")) > 0


@pytest.mark.parametrize(("settings", "told"), [
    (
        ("pe_array.columns=6",),
        "overlay tiny: pe_array.columns = 6; two columns share a DSP and so a head, of which there are"
        " dataflow.packed_heads = 2; must be a multiple of 4; nearest: 8",
    ),
    (
        ("ker.constant_bytes_per_cycle=48",),
        "overlay tiny: ker.constant_bytes_per_cycle = 48; tiles of router weights are cut into whole words: must be a"
        " power of two; nearest: 32",
    ),
])  # fmt: skip
def test_an_array_that_cannot_be_is_refused(settings: tuple[str, ...], told: str) -> None:
    with pytest.raises(SpecError) as error:
        PeArray(overlay=Overlay.load("tiny", settings))
    assert str(error.value) == told


def test_tiny() -> None:
    agree(Overlay.load("tiny"))


@pytest.mark.slow
def test_a_column_pair_of_the_u280() -> None:
    agree(Overlay.load("skipopu-u280", ("pe_array.columns=2", "dma.hbm_ports=1", "dataflow.packed_heads=1")), 400)


@pytest.mark.slow
@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_variants(settings: tuple[str, ...]) -> None:
    agree(narrow(*settings))


@pytest.mark.slow
@pytest.mark.parametrize("settings", MORE_VARIANTS.values(), ids=MORE_VARIANTS)
def test_more_variants(settings: tuple[str, ...]) -> None:
    agree(narrow(*settings))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), [("tiny", ()), ("skipopu-u280", SLICE)], ids=["tiny", "u280 slice"])
def test_twenty_thousand_tiles(name: str, settings: tuple[str, ...]) -> None:
    agree(Overlay.load(name, settings), FULL)


@pytest.mark.parametrize("setting", [
    "pe_array.convert_stages=3",
    *(
        pytest.param(each, marks=pytest.mark.slow)
        for each in ("ifm.rows=2", "pe_array.broadcast_stages=2", "psum.interleave=5")
    ),
])  # fmt: skip
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    """The model of one overlay beside the RTL of another: the first cycle that differs is named."""
    found = cosimulate(Overlay.load("tiny", (setting,)), TILES, SEED, rtl=Overlay.load("tiny"))
    assert found.difference is not None
    assert found.difference.kind == "cycle"
    assert "moves" in found.difference.signal


@pytest.mark.parametrize(
    "setting", ["pe_array.product_bits=16", pytest.param("pe_array.alignment_rounding=nearest", marks=pytest.mark.slow)]
)
def test_numerics_that_round_otherwise_are_found_out(setting: str) -> None:
    found = cosimulate(Overlay.load("tiny", (setting,)), TILES, SEED, rtl=Overlay.load("tiny"))
    assert found.difference is not None
    assert found.difference.kind == "entry"
    assert found.difference.signal.startswith("column")
