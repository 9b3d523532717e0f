"""Random traffic, replayed by an oracle that knows the JEDEC rules and not the model."""

from itertools import accumulate

import pytest
from dram_oracle import READ, WRITE, decode, violations
from dram_traffic import Burst, Seen, as_lists, drive, memory_of, place
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.spec.memory import ADDRESS_MAPS, Memory

FOUR_KIB = 4096
OFTEN = "timing.tREFI=1100"  # many refreshes in a short run
MEMORIES = [memory_of(s, OFTEN) for s in ("hbm", "ddr")]
MEMORIES += [memory_of("hbm", OFTEN, f"address_map={m}", "look_ahead=1") for m in ADDRESS_MAPS]
MEMORIES += [memory_of("hbm", OFTEN, "timing.tCCD_L=7", "timing.tFAW=40", "queue_depth=3", "look_ahead=0")]
UNTIL = 6000


@st.composite
def traffic(draw: st.DrawFn, memory: Memory) -> list[Burst]:
    """Up to 40 bursts in few rows of all banks, back to back or after a pause, a third of them writes."""
    count = draw(st.integers(1, 40))
    gaps = draw(st.lists(st.sampled_from([0, 0, 0, 1, 5, 60, 400]), min_size=count, max_size=count))
    return [draw(burst(memory, start)) for start in accumulate(gaps)]


@st.composite
def burst(draw: st.DrawFn, memory: Memory, start: int) -> Burst:
    beats = draw(st.sampled_from([1, 1, 2, 3, 7, 16]))
    row_bytes = memory.page_bytes * memory.banks
    places = memory.capacity_bytes // memory.beat_bytes
    base = draw(st.sampled_from([0, row_bytes, 2 * row_bytes, memory.capacity_bytes // memory.banks]))
    beat = (base // memory.beat_bytes + draw(st.integers(0, 1023))) % places
    beat -= max(0, beat % (FOUR_KIB // memory.beat_bytes) + beats - FOUR_KIB // memory.beat_bytes)
    return Burst(start, beat * memory.beat_bytes, beats, draw(st.integers(0, 2)) == 0)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Memory, list[Burst]]:
    memory = draw(st.sampled_from(MEMORIES))
    return memory, draw(traffic(memory))


def expected_columns(memory: Memory, bursts: list[Burst]) -> list[tuple[int, int, int]]:
    """(kind, bank, row) of every beat, in the order of the bursts."""
    found = []
    for b in bursts:
        for i in range(b.beats):
            bank, row, _ = decode(memory, b.address // memory.beat_bytes + i)
            found.append((WRITE if b.is_write else READ, bank, row))
    return found


def expected_codes(bursts: list[Burst]) -> list[int]:
    reads = [(tag, b.beats) for tag, b in enumerate(bursts) if not b.is_write]
    return [tag * 2 + (i == beats - 1) for tag, beats in reads for i in range(beats)]


@given(cases())
@settings(max_examples=150)
def test_no_rule_is_broken_and_every_beat_comes_back_once_in_order(case: tuple[Memory, list[Burst]]) -> None:
    memory, bursts = case
    seen = drive(memory, bursts, UNTIL)
    assert violations(memory, seen.commands, seen.first_refresh) == []
    columns = seen.of(READ, WRITE)
    assert [(c.kind, c.bank, c.row) for c in columns] == expected_columns(memory, bursts)
    assert [code for _, code in seen.beats] == expected_codes(bursts)
    check_latencies(memory, bursts, seen)
    check_counters(bursts, seen)


def check_latencies(memory: Memory, bursts: list[Burst], seen: Seen) -> None:
    """Requests are seen after the request latency, data and responses come after the response latency."""
    columns = seen.of(READ, WRITE)
    after_read = memory.ticks.tCL + memory.response_latency
    assert [t for t, _ in seen.beats] == [c.tick + after_read for c in columns if c.kind == READ]
    ends = list(accumulate(b.beats for b in bursts))
    lasts = [columns[e - 1].tick for e in ends]
    after_write = memory.ticks.tCWL + memory.response_latency
    assert seen.responses == [t + after_write for t, b in zip(lasts, bursts, strict=True) if b.is_write]
    firsts = [columns[e - b.beats].tick for e, b in zip(ends, bursts, strict=True)]
    assert all(f >= a + memory.request_latency for f, a in zip(firsts, seen.accepted, strict=True))
    finished = [t + (after_write if b.is_write else after_read) for t, b in zip(lasts, bursts, strict=True)]
    for i, accepted in enumerate(seen.accepted):
        assert sum(f >= accepted for f in finished[:i]) <= memory.queue_depth


def check_counters(bursts: list[Burst], seen: Seen) -> None:
    c = seen.dram.channels[0]
    assert c.write_responses == sum(b.is_write for b in bursts)
    assert c.write_beats == sum(b.beats for b in bursts if b.is_write)
    assert c.read_beats == sum(b.beats for b in bursts if not b.is_write)
    assert c.row_hits + c.row_closed + c.row_misses == c.read_beats + c.write_beats
    assert c.row_closed + c.row_misses <= c.activations
    assert c.refreshes == len(seen.refresh_ticks)
    assert c.pushed == c.finished == len(bursts)
    assert not c.needed.any()


@given(cases())
@settings(max_examples=60)
def test_a_skipped_tick_is_one_in_which_nothing_happens(case: tuple[Memory, list[Burst]]) -> None:
    memory, bursts = case
    assert as_lists(drive(memory, bursts, UNTIL)) == as_lists(drive(memory, bursts, UNTIL, always=True))


@given(cases())
@settings(max_examples=60)
def test_runs_of_beats_are_a_matter_of_speed_only(case: tuple[Memory, list[Burst]]) -> None:
    memory, bursts = case
    assert as_lists(drive(memory, bursts, UNTIL)) == as_lists(drive(memory, bursts, UNTIL, stride=0))


HARD = memory_of("hbm", "timing.tFAW=40", OFTEN)  # on the U280 itself tFAW = 4 tRRD_S never decides


def conflicts(memory: Memory) -> list[Burst]:
    """Single beats that change row, bank, group and direction in all combinations, then streams that do."""
    row_bytes = memory.page_bytes * memory.banks
    steps = [(i * 7 % 5 * row_bytes + i * 11 % 64 * memory.beat_bytes, i * 5 % 3 == 0) for i in range(120)]
    far = [(i % 2 * row_bytes + i * 64 * memory.beat_bytes % row_bytes, i % 7 == 0) for i in range(120)]
    singles = [Burst(0, address, 1, is_write) for address, is_write in steps + far]
    apart = place(memory, group=2)  # the far pair of bank groups
    return singles + [Burst(0, i // 4 % 2 * row_bytes + i % 2 * apart, 16, i % 16 > 12) for i in range(64)]


FAULTS = [name for name in HARD.timing.__dataclass_fields__ if name not in ("tCL", "tREFI")]


@pytest.mark.parametrize("name", FAULTS)
def test_a_model_that_is_one_tick_too_fast_is_caught(name: str) -> None:
    fast = getattr(HARD.ticks, name) - 1
    seen = drive(HARD, conflicts(HARD), UNTIL, **{name: fast})
    rules = {v.split(":")[0] for v in violations(HARD, seen.commands, seen.first_refresh)}
    assert rules & blamed(name)


def blamed(name: str) -> set[str]:
    """The rules that a parameter one tick short may break."""
    return {"tCWL": {"tWTR_S", "tWTR_L", "tWR"}, "tCCD_S": {"tCCD_S", "column bus"}}.get(name, {name})


def test_the_same_traffic_on_a_sound_model_breaks_nothing() -> None:
    seen = drive(HARD, conflicts(HARD), UNTIL)
    assert seen.dram.channels[0].finished == 304
    assert violations(HARD, seen.commands, seen.first_refresh) == []


@pytest.mark.parametrize(
    ("parameter", "change"), [("row_shift", 1), ("bank_shift0", 1), ("segment_mask", 64)]
)
def test_a_wrong_address_map_is_caught(parameter: str, change: int) -> None:
    bursts = [Burst(0, (i * 128 + 56) * 32, 16) for i in range(40)]  # across a page, inside 4 KiB
    memory = memory_of("hbm")
    right = drive(memory, bursts, UNTIL)
    value = int(right.dram.parameters[parameter][0]) + change
    wrong = drive(memory, bursts, UNTIL, **{parameter: value})
    columns = [(c.kind, c.bank, c.row) for c in wrong.of(READ, WRITE)]
    assert columns != expected_columns(memory, bursts) or violations(
        memory, wrong.commands, wrong.first_refresh
    )
