"""The DMA's RTL in Verilator beside the simulator: every request, word and cycle, under random stalls everywhere."""

import pytest

from skipopu.hdl.cosim.dma import cosimulate
from skipopu.spec.overlay import Overlay

SEED = 5
FULL = 100_000

VARIANTS = {
    "four ports of four beats a cycle, odd credits": (1500, (
        "dma.hbm_ports=4", "clock.hbm_ratio=4", "dma.weight_chunks=9", "dma.kv_chunks=11", "dma.read_bursts=32",
        "dma.write_bursts=8", "dma.request_ticks=4", "dma.crossing_stages=4",
    )),
    "one port, one clock, one burst at a time": (600, (
        "dma.hbm_ports=1", "clock.hbm_ratio=1", "dma.read_bursts=1", "dma.write_bursts=1", "dma.request_ticks=5",
        "dma.crossing_stages=6",
    )),
    "eight ports, few writes": (3000, (
        "dma.hbm_ports=8", "dma.weight_chunks=40", "dma.read_bursts=16", "dma.write_bursts=2", "dma.crossing_stages=5",
    )),
    "eight beats a cycle": (3000, ("clock.hbm_ratio=8", "dma.read_bursts=2", "dma.write_bursts=16")),
    "three ports in the core's clock": (3000, (
        "dma.hbm_ports=3", "clock.hbm_ratio=1", "dma.weight_chunks=100", "dma.kv_chunks=17", "dma.read_bursts=4",
    )),
    "the longest crossing": (1500, ("dma.crossing_stages=15", "dma.request_ticks=15", "dma.weight_chunks=64")),
}  # fmt: skip


def agree(overlay: Overlay, bursts: int) -> None:
    found = cosimulate(overlay, bursts, SEED)
    assert found.difference is None, str(found.difference)
    assert found.bursts >= bursts
    assert found.words > 0
    assert found.chunks > 0


def test_tiny() -> None:
    agree(Overlay.load("tiny"), 4000)


@pytest.mark.slow
@pytest.mark.parametrize(("bursts", "settings"), VARIANTS.values(), ids=VARIANTS)
def test_variants(bursts: int, settings: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", settings), bursts)


@pytest.mark.slow
def test_four_ports_of_the_u280() -> None:
    agree(Overlay.load("skipopu-u280", ("dma.hbm_ports=4",)), 5000)


@pytest.mark.slow
def test_a_hundred_thousand_bursts() -> None:
    agree(Overlay.load("tiny"), FULL)


@pytest.mark.parametrize("setting", [
    "dma.crossing_stages=4",
    *(
        pytest.param(f"dma.{each}", marks=pytest.mark.slow)
        for each in ("weight_chunks=12", "request_ticks=4", "write_bursts=2")
    ),
])  # fmt: skip
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    """The model of one overlay beside the RTL of another: the first cycle that differs is named."""
    found = cosimulate(Overlay.load("tiny", (setting,)), 500, SEED, rtl=Overlay.load("tiny"))
    assert found.difference is not None
    assert found.difference.kind == "cycle"
