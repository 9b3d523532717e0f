"""The KV buffer's RTL, with bitmask and DMA, beside the simulator: every cycle, AXI burst, round and bit."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers

from skipopu.hdl.cosim.kv_buffer import KvBufferRun, cosimulate
from skipopu.hdl.kv_buffer import KvBuffer
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

BURSTS, SEED = 2500, 5
FULL = 100_000

# each leaf that shapes the block, away from its shipped value at least once
VARIANTS = {
    "one lane of each kind": (
        "dma.hbm_ports=1", "kv_buffer.ports=1", "kv_buffer.read_stages=1", "kv_buffer.capacity_bytes=8192",
    ),
    "three ports, two tokens a queue, no buffer": (
        "dma.hbm_ports=3", "kv_buffer.ports=0", "kv_buffer.queue_depth=2", "clock.hbm_ratio=1",
    ),
    "eight ports and banks": (
        "dma.hbm_ports=8", "kv_buffer.ports=8", "kv_buffer.capacity_bytes=65536", "kv_buffer.read_stages=4",
        "pe_array.columns=32",
    ),
    "rounds smaller than the ports": ("dma.hbm_ports=6", "kv_buffer.ports=5", "kv_buffer.capacity_bytes=40960"),
    "odd numbers, rounds in lock-step": (
        "dma.hbm_ports=5", "kv_buffer.ports=3", "kv_buffer.capacity_bytes=24576", "kv_buffer.invalid_rounds=lock_step",
        "dma.kv_chunks=11", "pe_array.columns=16",
    ),
    "four ticks a cycle": (
        "clock.hbm_ratio=4", "dma.hbm_ports=4", "kv_buffer.ports=6", "kv_buffer.capacity_bytes=98304",
        "kv_buffer.read_stages=3", "kv_buffer.round_queue=5", "pe_array.columns=24",
    ),
    "one tick a cycle": ("clock.hbm_ratio=1", "kv_buffer.ports=3", "kv_buffer.capacity_bytes=12288"),
    "a buffer of one token": (
        "kv_buffer.ports=1", "kv_buffer.capacity_bytes=128", "dma.hbm_ports=4", "kv_buffer.queue_depth=2",
    ),
    "a buffer that holds nothing": ("kv_buffer.capacity_bytes=0", "kv_buffer.round_queue=3"),
    "rounds in lock-step without a buffer": ("kv_buffer.invalid_rounds=lock_step", "kv_buffer.enabled=false"),
    "a buffer of a token a bank": ("kv_buffer.capacity_bytes=256", "kv_buffer.queue_depth=3"),
    "a switched off buffer, a slow crossing": (
        "kv_buffer.enabled=false", "dma.crossing_stages=6", "dma.request_ticks=8", "dma.read_bursts=1",
    ),
    "deep queues": (
        "kv_buffer.queue_depth=33", "kv_buffer.round_queue=9", "dma.kv_chunks=64", "dma.read_bursts=16",
        "kv_buffer.read_stages=8", "kv_buffer.capacity_bytes=65536", "bitmask.rows=5", "bitmask.tokens=200",
    ),
}  # fmt: skip


OTHER_NUMBERS = (
    "kv_buffer.read_stages=3", "kv_buffer.round_queue=3", "dma.kv_chunks=24", "kv_buffer.invalid_rounds=lock_step",
    "dma.crossing_stages=4", "dma.request_ticks=5",
)  # fmt: skip


def agree(overlay: Overlay, bursts: int = BURSTS, seed: int = SEED) -> KvBufferRun:
    found = cosimulate(overlay, bursts, seed)
    assert found.difference is None, str(found.difference)
    assert found.bursts >= bursts
    return found


def test_tiny() -> None:
    """A good part of all reads finds the buffer valid, and tokens there; whatever is hard to get right happens."""
    found = agree(Overlay.load("tiny"), 3000)
    assert all(dataclasses.asdict(found.coverage).values())
    assert found.coverage.valid_reads > found.operations // 4
    assert found.coverage.buffered > found.entries // 10


@pytest.mark.slow
@pytest.mark.parametrize("leaves", VARIANTS.values(), ids=VARIANTS)
def test_variants(leaves: tuple[str, ...]) -> None:
    agree(Overlay.load("tiny", leaves))


@pytest.mark.slow
def test_four_ports_of_the_u280() -> None:
    smaller = ("dma.hbm_ports=4", "kv_buffer.ports=4", "kv_buffer.capacity_bytes=65536", "bitmask.tokens=512")
    agree(Overlay.load("skipopu-u280", (*smaller, "bitmask.rows=16", "pe_array.columns=16")))


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(seed=integers(0, 2**32 - 1))
def test_any_seed(seed: int) -> None:
    agree(Overlay.load("tiny"), seed=seed)


@pytest.mark.slow
def test_a_hundred_thousand_bursts() -> None:
    found = agree(Overlay.load("tiny"), FULL)
    assert found.coverage.buffered > FULL // 10


def test_a_simulator_with_another_queue_is_found_out() -> None:
    """The model of one overlay beside the RTL of another: the first cycle that differs is named."""
    is_found_out("kv_buffer.queue_depth=5")


@pytest.mark.slow
@pytest.mark.parametrize("setting", OTHER_NUMBERS)
def test_a_simulator_that_reads_another_number_is_found_out(setting: str) -> None:
    is_found_out(setting)


def is_found_out(setting: str) -> None:
    found = cosimulate(Overlay.load("tiny", (setting,)), 600, SEED, rtl=Overlay.load("tiny"))
    assert found.difference is not None
    assert found.difference.kind == "cycle"


def test_the_interleaved_map_has_no_rtl() -> None:
    overlay = Overlay.load("tiny", ("kv_buffer.map=interleaved", "kv_buffer.enabled=false"))
    with pytest.raises(SpecError) as error:
        KvBuffer(overlay=overlay)
    assert str(error.value) == (
        "overlay tiny: kv_buffer.map = interleaved; the RTL of the KV buffer reads a token from one port;"
        " nearest: token_wise"
    )
