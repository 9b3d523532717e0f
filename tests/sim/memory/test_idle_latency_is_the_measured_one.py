"""A read into an idle channel comes back when Shuhai measured it on the U280, to the cycle."""

import pytest
from dram_oracle import ticks
from dram_traffic import Burst, drive, memory_of, place

from skipopu.spec.memory import ADDRESS_MAPS, Memory

MEASURED = {
    "hbm": (48, 55, 62),
    "ddr": (22, 27, 32),
}  # cycles of 450 and 300 MHz: row open, closed, other row


def latencies(memory: Memory, bank: int = 6) -> tuple[int, ...]:
    """Ticks to a beat of an open row, of a precharged bank, of another row."""
    group, number = divmod(bank, memory.banks_per_group)
    here, there = (place(memory, row=row, group=group, bank=number) for row in (3, 4))
    starts = [100, 300, 500]
    seen = drive(memory, [Burst(100, here, 1), Burst(300, here, 1), Burst(500, there, 1)], 700)
    closed, hit, miss = (t - start for (t, _), start in zip(seen.beats, starts, strict=True))
    return hit, closed, miss


@pytest.mark.parametrize("section", ["hbm", "ddr"])
@pytest.mark.parametrize("address_map", ADDRESS_MAPS)
def test_row_open_closed_and_other_row_open(section: str, address_map: str) -> None:
    memory = memory_of(section, f"address_map={address_map}")
    assert {latencies(memory, bank) for bank in range(memory.banks)} == {MEASURED[section]}


@pytest.mark.parametrize("section", ["hbm", "ddr"])
@pytest.mark.parametrize("name", ["tCL", "tRCD_read", "tRP", "tRFC", "tFAW", "tWR", "tCCD_L"])
def test_each_follows_from_the_timing_parameters_alone(section: str, name: str) -> None:
    for nanoseconds in (2.0, 9.5, 40.0):
        memory = memory_of(section, f"timing.{name}={nanoseconds}")
        hit = memory.controller_latency + ticks(memory, "tCL")
        closed = hit + ticks(memory, "tRCD_read")
        assert latencies(memory) == (hit, closed, closed + ticks(memory, "tRP"))


@pytest.mark.parametrize("section", ["hbm", "ddr"])
def test_it_does_not_matter_how_long_the_channel_was_idle(section: str) -> None:
    memory = memory_of(section)
    after_refresh = memory.ticks.tREFI + memory.ticks.tRFC
    for idle in (0, 1, 7, 400, after_refresh + 50):
        seen = drive(memory, [Burst(idle, 0, 1)], idle + 100)
        assert seen.beats == [(idle + MEASURED[section][1], 1)], idle


@pytest.mark.parametrize("section", ["hbm", "ddr"])
def test_further_beats_follow_one_a_tick(section: str) -> None:
    memory = memory_of(section)
    warm = [Burst(0, place(memory, group=g, bank=b), 1) for g in range(4) for b in range(4)]
    seen = drive(memory, [*warm, Burst(200, 0, 16)], 400)
    latency = MEASURED[section][0]
    assert [t for t, code in seen.beats if code >> 1 == 16] == [200 + latency + i for i in range(16)]
