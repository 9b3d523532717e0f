"""KV append's RTL beside the simulator: every cycle, and every byte where it must lie."""

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from skipopu.hdl.cosim.kv_append import KvAppendRun, cosimulate
from skipopu.hdl.kv_append import KvAppend
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

BURSTS, SEED = 1000, 4

# each leaf that shapes the block, away from its shipped value at least once
VARIANTS = {
    "one port, chunks of a tile": ("dma.hbm_ports=1", "clock.hbm_ratio=1", "bitmask.rows=4"),
    "chunks of four tiles, slow reads": ("dma.hbm_ports=5", "clock.hbm_ratio=4", "global_buffer.read_stages=5"),
    "chunks of eight tiles": ("dma.hbm_ports=3", "clock.hbm_ratio=8", "global_buffer.read_stages=8"),
    "tiles of two chunks, single heads": (
        "dma.hbm_ports=8", "pe_array.dot_length=64", "npe.lanes=8", "dataflow.packed_heads=1",
    ),
    "tiles longer than a burst": (
        "dma.hbm_ports=3", "pe_array.dot_length=512", "global_buffer.tiles=128", "dataflow.row_block=16",
    ),
    "large blocks, reads of a cycle": ("dma.hbm_ports=7", "dataflow.row_block=64", "global_buffer.read_stages=1"),
}  # fmt: skip
OTHER_NUMBERS = ("global_buffer.read_stages=3", "dataflow.packed_heads=1", "dma.hbm_ports=3")


def agree(overlay: Overlay, bursts: int = BURSTS, seed: int = SEED) -> KvAppendRun:
    found = cosimulate(overlay, bursts, seed)
    assert found.difference is None, str(found.difference)
    assert found.bursts >= bursts
    return found


def test_tiny() -> None:
    """Some operations have no row, and some bursts end before a 4 KiB boundary."""
    found = agree(Overlay.load("tiny"))
    assert found.skipped
    assert found.cut
    assert found.rows > found.operations


@pytest.mark.slow
@pytest.mark.parametrize("leaves", VARIANTS.values(), ids=VARIANTS)
def test_variants(leaves: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", leaves))


@pytest.mark.slow
def test_the_u280() -> None:
    agree(Overlay.load("skipopu-u280"))


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(seed=integers(0, 2**32 - 1))
def test_any_seed(seed: int) -> None:
    agree(Overlay.load("tiny"), seed=seed)


@pytest.mark.slow
def test_fifty_thousand_bursts() -> None:
    agree(Overlay.load("tiny"), 50_000)


@pytest.mark.slow
@pytest.mark.parametrize("setting", OTHER_NUMBERS)
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    assert cosimulate(Overlay.load("tiny", (setting,)), 200, SEED, rtl=Overlay.load("tiny")).difference is not None


def test_the_interleaved_map_has_no_rtl() -> None:
    overlay = Overlay.load("tiny", ("kv_buffer.map=interleaved", "kv_buffer.enabled=false"))
    with pytest.raises(SpecError, match=r"^overlay tiny: kv_buffer\.map = interleaved; .*; nearest: token_wise$"):
        KvAppend(overlay=overlay)
