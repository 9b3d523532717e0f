"""Load, store, global buffer and DDR4 ports in Verilator: every cycle = simulator, every byte = image, under stalls."""

import pytest

from skipopu.hdl.cosim.ddr import cosimulate
from skipopu.spec.overlay import Overlay

SEED = 1
FULL = 5000

VARIANTS = {
    "row tiles as wide as a word, one burst at a time": (300, (
        "pe_array.dot_length=64", "dma.ddr_read_bursts=1", "dma.ddr_write_bursts=1", "global_buffer.read_stages=1",
    )),
    "row tiles of two words": (300, ("pe_array.dot_length=128", "dma.ddr_beats=16", "dma.crossing_stages=6")),
    "row tiles of eight words": (200, ("pe_array.dot_length=512", "global_buffer.tiles=256")),
    "four read ports, a slow core, an odd FIFO": (300, (
        "global_buffer.read_ports=4", "clock.core_mhz=100", "dma.ddr_beats=41", "global_buffer.read_stages=4",
    )),
    "results and row tiles that go back take as long": (300, ("npe.function_stages=1", "npe.gamma_stages=14")),
    "a core as fast as the memory": (300, ("clock.core_mhz=300", "dma.ddr_read_bursts=24")),
}  # fmt: skip


def agree(overlay: Overlay, bursts: int) -> None:
    found = cosimulate(overlay, bursts, SEED)
    assert found.difference is None, str(found.difference)
    assert found.bursts >= bursts
    assert found.stalled_bursts > 0
    assert min(found.tiles_loaded, found.tiles_stored, found.tiles_read) > 0


def test_tiny() -> None:
    agree(Overlay.load("tiny"), 200)


@pytest.mark.slow
@pytest.mark.parametrize(("bursts", "settings"), VARIANTS.values(), ids=VARIANTS)
def test_variants(bursts: int, settings: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", settings), bursts)


@pytest.mark.slow
def test_the_u280() -> None:
    agree(Overlay.load("skipopu-u280"), 500)


@pytest.mark.slow
def test_many_bursts() -> None:
    agree(Overlay.load("tiny"), FULL)


@pytest.mark.slow
@pytest.mark.parametrize("setting", [
    "dma.crossing_stages=4", "dma.ddr_beats=24", "dma.ddr_read_bursts=2", "dma.ddr_write_bursts=1",
    "global_buffer.read_stages=3", "npe.function_stages=19",
])  # fmt: skip
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    """The model of one overlay beside the RTL of another: the first cycle that differs is named."""
    found = cosimulate(Overlay.load("tiny", (setting,)), 300, SEED, rtl=Overlay.load("tiny"))
    assert found.difference is not None
    assert found.difference.kind == "cycle"
