"""A command goes out in the very tick its timing parameter allows: not before, and not after.

Each case is a short sequence in which one parameter decides the distance of two commands; the same with the
parameter one tick longer shows that nothing else hides behind it. `CASES` has one of every parameter, `FURTHER` has
the other pairs of commands that it holds apart. All are run on both memories, in every address map. Refresh has a
file of its own.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from dram_oracle import ACTIVATE, PRECHARGE, READ, WRITE, ticks
from dram_traffic import Burst, Seen, drive, memory_of, place, slower

from skipopu.spec.memory import ADDRESS_MAPS, Memory

LATER = 300  # ticks; everything before is long done


class Case(NamedTuple):
    """``bursts`` of a memory, the distance to look at, and what it must be apart from the parameter."""

    bursts: Callable[[Memory], list[Burst]]
    distance: Callable[[Seen], int]
    beyond: Callable[[Memory], int] = lambda _: 0
    settings: tuple[str, ...] = ()


def opened(*bursts: Burst) -> Callable[[Memory], list[Burst]]:
    """Row 0 of every bank is read at the start; ``bursts`` have (group, bank, row, column) for an address."""

    def sequence(memory: Memory) -> list[Burst]:
        every = [(g, b) for g in range(memory.bank_groups) for b in range(memory.banks_per_group)]
        warm = [Burst(0, place(memory, group=g, bank=b), 1) for g, b in every]
        return [*warm, *(at(memory, b) for b in bursts)]

    return sequence


def closed(*bursts: Burst) -> Callable[[Memory], list[Burst]]:
    """All banks are precharged when ``bursts`` come."""
    return lambda memory: [at(memory, b) for b in bursts]


def at(memory: Memory, burst: Burst) -> Burst:
    """``burst`` with its address, written 1000 · group + 100 · bank + 10 · row + column, in place."""
    a = burst.address
    address = place(memory, group=a // 1000, bank=a // 100 % 10, row=a // 10 % 10, column=a % 10)
    return burst._replace(address=address)


def read(a: int, start: int = LATER) -> Burst:
    return Burst(start, a, 1)


def write(a: int, start: int = LATER) -> Burst:
    return Burst(start, a, 1, is_write=True)


def between(first: int, second: int, *, nth: int = 1) -> Callable[[Seen], int]:
    """Ticks from the first ``first`` to the ``nth`` later ``second`` from LATER on."""

    def distance(seen: Seen) -> int:
        late = [c for c in seen.of(first, second) if c.tick >= LATER]
        begin = next(c.tick for c in late if c.kind == first)
        return [c.tick for c in late if c.kind == second and c.tick > begin][nth - 1] - begin

    return distance


def write_data(memory: Memory) -> int:
    """Ticks from a write command to the end of its data."""
    return ticks(memory, "tCWL") + ticks(memory, "tCCD_S")


def response(memory: Memory) -> int:
    return memory.response_latency


CASES = {
    "tRCD_read": Case(closed(read(0)), between(ACTIVATE, READ)),
    "tRCD_write": Case(closed(write(0)), between(ACTIVATE, WRITE)),
    "tRP": Case(opened(read(10)), between(PRECHARGE, ACTIVATE)),
    "tRAS": Case(closed(read(0), read(10)), between(ACTIVATE, PRECHARGE)),
    "tRTP": Case(opened(read(1), read(10)), between(READ, PRECHARGE)),
    "tWR": Case(opened(write(1), read(10)), between(WRITE, PRECHARGE), write_data),
    "tCCD_S": Case(opened(read(1), read(1001)), between(READ, READ)),
    "tCCD_L": Case(opened(read(1), read(2)), between(READ, READ)),
    "tRRD_S": Case(closed(read(0), read(1000)), between(ACTIVATE, ACTIVATE)),
    "tRRD_L": Case(closed(read(0), read(100)), between(ACTIVATE, ACTIVATE)),
    "tFAW": Case(
        closed(read(0), read(1000), read(2000), read(3000), read(100)),
        between(ACTIVATE, ACTIVATE, nth=4),
        settings=("timing.tFAW=60",),  # as it is on the U280, four tRRD_S take as long
    ),
    "tRTW": Case(opened(read(1), write(1001)), between(READ, WRITE)),
    "tWTR_S": Case(opened(write(1), read(1001)), between(WRITE, READ), write_data),
    "tWTR_L": Case(opened(write(1), read(2)), between(WRITE, READ), write_data),
    "tCL": Case(opened(read(1)), lambda s: s.beats[-1][0] - s.of(READ)[-1].tick, response),
    "tCWL": Case(opened(write(1)), lambda s: s.responses[-1] - s.of(WRITE)[-1].tick, response),
}


FURTHER = [
    ("tRCD_read", Case(opened(read(10)), between(ACTIVATE, READ))),
    ("tRCD_write", Case(opened(write(10)), between(ACTIVATE, WRITE))),
    ("tRP", Case(opened(write(10)), between(PRECHARGE, ACTIVATE))),
    ("tRAS", Case(closed(write(0), read(10)), between(ACTIVATE, PRECHARGE), settings=("timing.tRAS=150",))),
    ("tRTP", Case(opened(read(3301), read(3310)), between(READ, PRECHARGE))),
    ("tWR", Case(opened(write(3301), write(3310)), between(WRITE, PRECHARGE), write_data)),
    ("tCCD_S", Case(opened(write(1), write(1001)), between(WRITE, WRITE))),
    ("tCCD_L", Case(opened(write(1), write(2)), between(WRITE, WRITE))),
    ("tCCD_L", Case(opened(read(1), read(101)), between(READ, READ))),  # another bank of the group
    ("tCCD_L", Case(opened(write(1), write(101)), between(WRITE, WRITE))),
    ("tCCD_L", Case(opened(read(1), read(1001), read(2)), between(READ, READ, nth=2), settings=("timing.tCCD_L=20",))),
    ("tRRD_S", Case(closed(write(200), read(2100)), between(ACTIVATE, ACTIVATE))),
    ("tRRD_L", Case(closed(write(0), read(100)), between(ACTIVATE, ACTIVATE))),
    ("tRRD_L", Case(closed(read(3000), read(3300)), between(ACTIVATE, ACTIVATE))),
    ("tRTW", Case(opened(read(1), write(2)), between(READ, WRITE))),  # the same bank
    ("tRTW", Case(opened(read(1), write(101)), between(READ, WRITE))),
    ("tWTR_S", Case(opened(write(1), read(3301)), between(WRITE, READ), write_data)),
    ("tWTR_L", Case(opened(write(1), read(101)), between(WRITE, READ), write_data)),
    ("tWTR_L", Case(opened(write(3301), read(3001)), between(WRITE, READ), write_data)),
]
EVERY = [*CASES.items(), *FURTHER]


def distance(case: Case, memory: Memory) -> int:
    return case.distance(drive(memory, case.bursts(memory), LATER + 200))


@pytest.mark.parametrize("section", ["hbm", "ddr"])
@pytest.mark.parametrize("address_map", ADDRESS_MAPS)
@pytest.mark.parametrize(("name", "case"), EVERY, ids=[name for name, _ in EVERY])
def test_blocked_a_tick_early_and_ready_on_the_tick(name: str, case: Case, address_map: str, section: str) -> None:
    chosen = (f"address_map={address_map}", *case.settings)
    memory, later = memory_of(section, *chosen), slower(section, name, *chosen)
    assert distance(case, memory) == ticks(memory, name) + case.beyond(memory)
    assert distance(case, later) == ticks(memory, name) + 1 + case.beyond(later)


@pytest.mark.parametrize("section", ["hbm", "ddr"])
@pytest.mark.parametrize("bank", range(16))
def test_every_bank_closes_opens_and_reads_on_the_tick(bank: int, section: str) -> None:
    memory = memory_of(section)
    seen = drive(memory, opened(read(bank // 4 * 1000 + bank % 4 * 100 + 10))(memory), LATER + 200)
    late = [c for c in seen.of(PRECHARGE, ACTIVATE, READ) if c.tick >= LATER]
    closes = LATER + memory.request_latency
    opens = closes + ticks(memory, "tRP")
    assert late == [
        (closes, PRECHARGE, bank, 0),
        (opens, ACTIVATE, bank, 1),
        (opens + ticks(memory, "tRCD_read"), READ, bank, 1),
    ]


@pytest.mark.parametrize("section", ["hbm", "ddr"])
def test_every_parameter_of_the_data_sheet_is_covered(section: str) -> None:
    assert set(CASES) | {"tRFC", "tREFI"} == set(memory_of(section).timing.__dataclass_fields__)
