"""Channels are independent; a port takes as many bursts as its queue is deep, and no more."""

import numpy as np
import pytest
from dram_oracle import ACTIVATE, READ
from dram_traffic import Burst, drive, memory_of, place

from skipopu.sim import ddr, hbm
from skipopu.sim.dram import counters, free_slots, new_dram, push, tick
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError


def test_refreshes_are_spread_evenly_over_the_channels() -> None:
    memory = memory_of("hbm")
    due = new_dram(memory).channels.next_refresh
    assert due[-1] == memory.ticks.tREFI
    assert set(np.diff(due)) <= {memory.ticks.tREFI // 32, memory.ticks.tREFI // 32 + 1}


def test_without_stagger_all_refresh_together() -> None:
    memory = memory_of("hbm", "refresh_stagger=false")
    assert set(new_dram(memory).channels.next_refresh) == {memory.ticks.tREFI}


@pytest.mark.parametrize("depth", [1, 5, 64])
def test_outstanding_bursts_are_bounded_by_the_queue(depth: int) -> None:
    memory = memory_of("hbm", f"queue_depth={depth}")
    dram = new_dram(memory, 2)
    for i in range(depth):
        assert free_slots(dram, 0) == depth - i
        push(dram, 0, 0, 2, i % 2 == 1, i, 0)
    assert free_slots(dram, 0) == 0
    assert free_slots(dram, 1) == depth
    first = next(t for t in range(200) if tick(dram, 0, t) & 1 and free_slots(dram, 0) == 1)
    assert first == memory.read_latency + memory.ticks.tRCD_read + memory.ticks.tRRD_S  # second beat


@pytest.mark.parametrize(("address", "beats"), [(0, 0), (0, 17), (4096 - 32, 2), (8192 - 256, 9)])
def test_a_burst_that_axi_forbids_is_refused(address: int, beats: int) -> None:
    with pytest.raises(ValueError, match="1 to max_burst_beats beats and stay inside 4 KiB"):
        push(new_dram(memory_of("hbm"), 1), 0, address, beats, False, 0, 0)


def test_a_burst_without_a_free_slot_is_refused() -> None:
    dram = new_dram(memory_of("hbm", "queue_depth=1"), 1)
    push(dram, 0, 0, 1, False, 0, 0)
    with pytest.raises(ValueError, match="without a free slot"):
        push(dram, 0, 0, 1, False, 0, 0)


@pytest.mark.parametrize("look_ahead", [0, 1, 2, 3])
def test_rows_are_opened_for_so_many_bursts_behind_the_first(look_ahead: int) -> None:
    memory = memory_of("hbm", f"look_ahead={look_ahead}")
    seen = drive(memory, [Burst(0, place(memory, group=i), 1) for i in range(4)], 200)
    first = seen.of(READ)[0].tick  # as long as it takes to open four
    assert sum(c.tick < first for c in seen.of(ACTIVATE)) == look_ahead + 1


def test_traffic_on_one_channel_does_not_move_another() -> None:
    memory = memory_of("hbm")
    alone, beside = new_dram(memory, 4), new_dram(memory, 4)
    arrivals: list[list[tuple[int, int]]] = [[], []]
    for now in range(600):
        for which, dram in enumerate((alone, beside)):
            if now % 16 == 0 and now < 320:
                push(dram, 1, now * 32, 16, False, now, now)
                if which and free_slots(dram, 2):
                    push(dram, 2, now * 4096, 16, now % 32 == 0, now, now)
            arrivals[which] += [(now, code) for code in [tick(dram, 1, now)] if code >= 0]
            tick(dram, 2, now)
    assert arrivals[0] == arrivals[1]
    assert len(arrivals[0]) == 320


def test_counters_add_up_over_the_channels() -> None:
    memory = memory_of("hbm")
    dram = new_dram(memory, 2)
    for channel in (0, 1):
        push(dram, channel, 0, 16, channel == 1, 0, 0)
    for now in range(100):
        tick(dram, 0, now)
        tick(dram, 1, now)
    found = counters(dram)
    assert found["read_beats"] == found["write_beats"] == 16
    assert (found["row_closed"], found["row_misses"], found["row_hits"]) == (4, 0, 28)


def test_a_write_is_answered_once_its_last_beat_is_written() -> None:
    memory = memory_of("hbm")
    t = memory.ticks
    seen = drive(memory, [Burst(0, 0, 16, True)], 200)
    first = memory.request_latency + t.tRCD_write  # the second beat waits for its bank, opened tRRD_S later
    assert seen.responses == [first + t.tRRD_S + 14 + t.tCWL + memory.response_latency]


def test_a_board_has_its_ports_and_no_more() -> None:
    assert len(hbm.new_hbm(Board.load("u280"), 4).channels) == 4
    assert len(ddr.new_ddr(Board.load("u280")).channels) == 2
    with pytest.raises(SpecError, match=r"^ports = 33; board u280 has 1 to 32 \(hbm.channels\)$"):
        hbm.new_hbm(Board.load("u280"), 33)
