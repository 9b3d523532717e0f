"""A read into an idle channel comes back when Shuhai measured it on the U280, to the cycle."""

import pytest
from dram_traffic import Burst, drive, memory_of, place

MEASURED = {
    "hbm": (48, 55, 62),
    "ddr": (22, 27, 32),
}  # cycles of 450 and 300 MHz: row open, closed, other row


@pytest.mark.parametrize("section", ["hbm", "ddr"])
def test_row_open_closed_and_other_row_open(section: str) -> None:
    memory = memory_of(section)
    hit, closed, miss = MEASURED[section]
    here, there = place(memory, row=3, group=1, bank=2), place(memory, row=4, group=1, bank=2)
    starts = [100, 300, 500]
    seen = drive(memory, [Burst(100, here, 1), Burst(300, here, 1), Burst(500, there, 1)], 700)
    assert [t - start for (t, _), start in zip(seen.beats, starts, strict=True)] == [closed, hit, miss]


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
