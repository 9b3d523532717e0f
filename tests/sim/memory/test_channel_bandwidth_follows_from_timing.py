"""What a channel delivers over milliseconds comes out of the timing parameters, near what was measured."""

import pytest
from dram_traffic import Burst, drive, memory_of

from skipopu.spec.memory import Memory


def bandwidth(memory: Memory, intervals: int = 40, **parameters: int) -> float:
    """Bytes a second of one channel reading sequentially in 16-beat bursts, over whole refresh intervals."""
    until = (intervals + 1) * memory.ticks.tREFI
    step = 16 * memory.beat_bytes
    seen = drive(memory, [Burst(0, i * step, 16) for i in range(until // 16 + 1)], until, **parameters)
    beats = sum(memory.ticks.tREFI <= t for t, _ in seen.beats)
    return beats * memory.beat_bytes * memory.axi_mhz * 1e6 / (intervals * memory.ticks.tREFI)


def test_hbm_sequential_read_is_what_shuhai_measured() -> None:
    assert bandwidth(memory_of("hbm")) == pytest.approx(13.27e9, rel=0.02)


def test_ddr_sequential_read_is_what_shuhai_measured() -> None:
    assert bandwidth(memory_of("ddr")) == pytest.approx(18e9, rel=0.02)


@pytest.mark.parametrize("section", ["hbm", "ddr"])
@pytest.mark.parametrize(
    "setting", ["", "tRFC=500", "tRP=60", "tRCD_read=60", "tRTP=40", "tRRD_S=6", "tFAW=24", "tREFI=2500", "tCL=40"]
)
def test_refresh_steals_its_own_time_and_the_reopening_of_rows(section: str, setting: str) -> None:
    """Whatever the data sheet says: nothing else costs a sequential reader anything."""
    changed = [f"timing.{setting}"] if setting else []
    memory = memory_of(section, *changed)
    t = memory.ticks
    full = memory.beat_bytes * memory.axi_mhz * 1e6
    rare = memory_of(section, *changed, f"timing.tREFI={10 * memory.timing.tREFI}")
    stolen = (bandwidth(rare, 2) - bandwidth(memory)) / full * t.tREFI * 10 / 9  # ticks a refresh
    pause = t.tRTP + t.tRP + t.tRFC + t.tRCD_read
    assert pause - 4 <= stolen <= pause + memory.banks * t.tRRD_S


def test_alternating_bank_groups_give_full_rate_and_one_group_does_not() -> None:
    memory = memory_of("hbm")
    t = memory.ticks
    one_group = memory_of("hbm", "address_map=RGBC")
    whole, single = bandwidth(memory), bandwidth(one_group)
    assert t.tCCD_S < t.tCCD_L
    assert single / whole == pytest.approx(t.tCCD_S / t.tCCD_L, rel=0.05)


@pytest.mark.parametrize("address_map", ["BRGCG", "RCBG", "RCBCG"])
def test_every_map_that_alternates_groups_streams(address_map: str) -> None:
    other = memory_of("hbm", f"address_map={address_map}")
    assert bandwidth(other, 10) > 0.95 * bandwidth(memory_of("hbm"), 10)


@pytest.mark.parametrize("section", ["hbm", "ddr"])
def test_a_busy_channel_refreshes_as_often_as_an_idle_one(section: str) -> None:
    memory = memory_of(section)
    t = memory.ticks
    seen = drive(memory, [Burst(0, i * 1024, 16) for i in range(20 * t.tREFI // 16)], 20 * t.tREFI)
    late = [tick - (i + 1) * t.tREFI for i, tick in enumerate(seen.refresh_ticks)]
    assert len(late) == 19
    assert t.tRP <= min(late)
    assert max(late) <= t.tRAS + t.tRTP + t.tRP


def test_one_burst_at_a_time_gets_its_share_of_the_latency() -> None:
    memory = memory_of("hbm", "queue_depth=1")
    expected = memory.beat_bytes * 16 * memory.axi_mhz * 1e6 / (memory.read_latency + 16)
    assert bandwidth(memory, 10) == pytest.approx(expected, rel=0.1)
