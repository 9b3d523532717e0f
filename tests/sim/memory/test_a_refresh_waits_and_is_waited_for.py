"""A refresh goes out in the very tick in which the rows are closed, and the next command when it is over.

As in `test_a_command_waits_for_its_timing_parameter`, each with the parameter as it is and one tick longer.
"""

import pytest
from dram_oracle import ACTIVATE, PRECHARGE_ALL, READ, REFRESH, WRITE, ticks
from dram_traffic import Burst, Seen, drive, memory_of, place, slower

from skipopu.spec.memory import ADDRESS_MAPS, Memory

BOTH = pytest.mark.parametrize("section", ["hbm", "ddr"])
OPENED = 300  # tick in which the row was asked for that the refresh closes


def as_it_is_and_longer(section: str, name: str, *settings: str) -> tuple[Memory, Memory]:
    return memory_of(section, *settings), slower(section, name, *settings)


@BOTH
@pytest.mark.parametrize("address_map", ADDRESS_MAPS)
def test_nothing_goes_out_until_a_refresh_is_over(section: str, address_map: str) -> None:
    for memory in as_it_is_and_longer(section, "tRFC", f"address_map={address_map}"):
        due = ticks(memory, "tREFI")
        seen = drive(memory, [Burst(due, 0, 1)], 2 * due)
        assert seen.of(ACTIVATE)[0].tick - seen.of(REFRESH)[0].tick == ticks(memory, "tRFC")


@BOTH
def test_an_idle_channel_refreshes_every_interval(section: str) -> None:
    for memory in as_it_is_and_longer(section, "tREFI"):
        due = ticks(memory, "tREFI")
        assert drive(memory, [], 5 * due).refresh_ticks == [due * i for i in range(1, 5)]


CLOSING = {  # the last command before a refresh is due, and whether its row was open before
    "tRAS": (ACTIVATE, False),
    "tRTP": (READ, True),
    "tWR": (WRITE, True),
}


def at_the_last_moment(memory: Memory, kind: int, was_open: bool) -> Seen:
    """A command goes out in the tick before a refresh is due."""
    due = ticks(memory, "tREFI")
    column = place(memory, group=2, bank=1, column=1)
    last = Burst(due - 1 - memory.request_latency, column, 1, kind == WRITE)
    return drive(memory, [Burst(OPENED, column, 1)] * was_open + [last], due + 400)


@BOTH
@pytest.mark.parametrize("address_map", ADDRESS_MAPS)
@pytest.mark.parametrize("name", CLOSING)
def test_rows_close_for_a_refresh_on_the_tick(name: str, address_map: str, section: str) -> None:
    kind, was_open = CLOSING[name]
    for memory in as_it_is_and_longer(section, name, f"address_map={address_map}"):
        seen = at_the_last_moment(memory, kind, was_open)
        closes = seen.of(PRECHARGE_ALL)[0].tick
        last = [c.tick for c in seen.of(kind) if c.tick < closes][-1]
        data = ticks(memory, "tCWL") + ticks(memory, "tCCD_S") if kind == WRITE else 0
        assert last == ticks(memory, "tREFI") - 1
        assert closes == last + data + ticks(memory, name)


@BOTH
@pytest.mark.parametrize("kind", [ACTIVATE, READ, WRITE])
def test_a_refresh_follows_the_closing_of_the_rows_on_the_tick(kind: int, section: str) -> None:
    for memory in as_it_is_and_longer(section, "tRP"):
        seen = at_the_last_moment(memory, kind, kind != ACTIVATE)
        assert seen.of(REFRESH)[0].tick - seen.of(PRECHARGE_ALL)[0].tick == ticks(memory, "tRP")
