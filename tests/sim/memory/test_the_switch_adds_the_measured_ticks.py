"""Idle latencies through the switch are Shuhai's: 7 cycles more in a mini-switch, 77 for the farthest page hit."""

import pytest
from switch_traffic import Burst, drive, switched

from skipopu.sim.hbm_study import reaches
from skipopu.spec.board import Board

ROW = 16 * 1024  # bytes of a row of all banks
CALM = switched("hbm.refresh_stagger=false", "hbm.timing.tREFI=10000")  # no refresh in the first 4500 ticks


def latencies(board: Board, port: int, channel: int, *, is_write: bool = False) -> tuple[int, ...]:
    """Ticks to the answer from an open row, a precharged bank, and with another row open."""
    starts = (100, 400, 700)
    bursts = [Burst(t, port, channel, o, 1, is_write) for t, o in zip(starts, (0, 0, ROW), strict=True)]
    closed, hit, miss = (a[0] - t for a, t in zip(drive(board, bursts, 1000).arrivals, starts, strict=True))
    return hit, closed, miss


@pytest.mark.parametrize(
    ("port", "channel", "measured"),
    [(0, 0, (55, 62, 69)), (0, 3, (55, 62, 69)), (30, 29, (55, 62, 69)), (0, 31, (77, 84, 91)), (31, 0, (77, 84, 91))],
)
def test_a_read_takes_what_was_measured(port: int, channel: int, measured: tuple[int, ...]) -> None:
    assert latencies(CALM, port, channel) == measured


@pytest.mark.parametrize("channel", range(0, 32, 4))
@pytest.mark.parametrize("port", [2, 17])
def test_every_link_on_the_way_adds_its_ticks(port: int, channel: int) -> None:
    left, right = sorted((port // 4, channel // 4))
    crossed = left < 4 <= right
    added = 7 + 2 * (right - left - crossed) + 10 * crossed
    assert latencies(CALM, port, channel) == (48 + added, 55 + added, 62 + added)
    assert CALM.hbm_switch.added_ticks(port, channel) == added


@pytest.mark.parametrize("channel", [0, 5, 31])
def test_a_write_is_answered_as_much_later(channel: int) -> None:
    t = CALM.hbm.ticks
    local = CALM.hbm.controller_latency + t.tCWL
    added = CALM.hbm_switch.added_ticks(0, channel)
    beyond = (0, t.tRCD_write, t.tRP + t.tRCD_write)
    assert latencies(CALM, 0, channel, is_write=True) == tuple(local + added + b for b in beyond)


def test_the_study_measures_them_too() -> None:
    found = {r.name: (r.hit, r.closed, r.miss) for r in reaches(switched())}
    assert found["switch off"] == (48, 55, 62)
    assert found["local"] == found["same mini-switch"] == (55, 62, 69)
    assert found["one link"] == (57, 64, 71)
    assert found["next stack"] == (65, 72, 79)
    assert found["farthest"] == (77, 84, 91)
