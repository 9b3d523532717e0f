"""Bandwidth that is lost when ports reach far follows from the links they share: counted by hand here.

A lateral link carries a beat a tick and direction, as a port does. Ports 0 and 1 of a mini-switch share a link to
each side, ports 2 and 3 the other.
"""

import pytest
from switch_traffic import Burst, beats_of, drive, stream, switched

from skipopu.sim.hbm_study import Rotation, reaches, rotations, table
from skipopu.sim.hbm_switch_state import SwitchedHbm
from skipopu.spec.board import Board

UNTIL = 3000
WARM = 200
PORT = 14.4e9  # bytes a second of a port, a beat every tick
CALM = switched("hbm.refresh_stagger=false", "hbm.timing.tREFI=10000")


def shares(bursts: list[list[Burst]], board: Board = CALM) -> dict[int, float]:
    """Beats a tick of each reading port once all are under way."""
    every = sorted((b for port in bursts for b in port), key=lambda b: b.port)
    seen = drive(board, every, UNTIL)
    return {p: beats_of(seen, p, WARM) / (UNTIL - WARM) for p in {b.port for b in every}}


def test_a_port_alone_is_as_fast_far_away_as_near() -> None:
    found = {r.name: r.bandwidth for r in reaches(switched())}
    assert len(found) == 6
    assert max(found.values()) == pytest.approx(min(found.values()), rel=0.002)


def test_two_ports_of_a_link_share_it_and_two_of_different_links_do_not() -> None:
    assert shares([stream(0, 4, 200), stream(1, 5, 200)]) == pytest.approx({0: 0.5, 1: 0.5}, abs=0.002)
    assert shares([stream(0, 4, 200), stream(2, 5, 200)]) == pytest.approx({0: 1, 2: 1}, abs=0.002)


def test_both_directions_of_a_boundary_are_apart() -> None:
    assert shares([stream(0, 4, 200), stream(4, 0, 200)]) == pytest.approx({0: 1, 4: 1}, abs=0.002)


def test_a_crossbar_loses_nothing_within_its_mini_switch() -> None:
    crossed = [stream(p, p ^ 3, 200) for p in range(4)]
    assert shares(crossed) == pytest.approx(dict.fromkeys(range(4), 1.0), abs=0.002)


def test_ports_that_read_one_pseudo_channel_share_its_data() -> None:
    four = shares([stream(p, 0, 200) for p in range(4)])
    assert sum(four.values()) == pytest.approx(1, abs=0.05)
    assert min(four.values()) > 0.2


def test_reads_and_writes_have_a_bus_each() -> None:
    """Two ports of a link, one reading and one writing: neither waits for the other; two that write share."""
    length = 100 * 16
    for writers, ticks in (((1,), length), ((0, 1), 2 * length)):
        bursts = [b for p in (0, 1) for b in stream(p, 4 + p, 100, is_write=p in writers)]
        seen = drive(CALM, bursts, 2 * UNTIL)
        last = max(a[0] for a in seen.arrivals)
        assert len([a for a in seen.arrivals if a[2] == "response"]) == 100 * len(writers)
        assert ticks < last < ticks + 120


@pytest.mark.parametrize("beats", [1, 2])
def test_a_wider_link_carries_as_much_more(beats: int) -> None:
    board = switched("hbm.refresh_stagger=false", "hbm.timing.tREFI=10000", f"hbm_switch.link_beats={beats}")
    found = shares([stream(0, 4, 200), stream(1, 5, 200)], board)
    assert found == pytest.approx({0: beats / 2, 1: beats / 2}, abs=0.002)


def rotation(by: int, board: Board | None = None) -> Rotation:
    return rotations(switched() if board is None else board, [by])[0]


def test_far_rotations_are_bounded_by_the_middle_of_the_switch() -> None:
    """With s = 16 every port reads across the stacks: 2 links each way, 4 beats a tick in all, whoever gets them."""
    found = rotation(16)
    assert found.bandwidth == pytest.approx(4 * PORT, rel=0.001)
    assert found.busiest_link == pytest.approx(1, abs=0.001)


def test_next_neighbours_pass_two_to_a_link() -> None:
    """With s = 4 all ports reach the next mini-switch, and the last four come back over links that are free."""
    found = rotation(4)
    assert found.bandwidth == pytest.approx(32 * PORT / 2, rel=0.001)
    assert found.slowest == pytest.approx(PORT / 2, rel=0.001)


def test_near_rotations_lose_what_two_ports_of_a_link_lose() -> None:
    local, one, two = rotation(0), rotation(1), rotation(2)
    assert local.bandwidth == pytest.approx(32 * reaches(switched())[0].bandwidth, rel=0.001)
    assert local.busiest_link == 0
    assert one.bandwidth == pytest.approx(local.bandwidth, rel=0.001)  # one port of four crosses
    assert two.bandwidth == pytest.approx(local.bandwidth / 2 + 32 * PORT / 4, rel=0.001)  # two do, on one link


@pytest.mark.parametrize("by", [3, 8, 13, 31])
def test_no_rotation_carries_more_than_the_narrowest_boundary_lets_through(by: int) -> None:
    found = rotation(by)
    minis = [(p // 4, (p + by) % 32 // 4) for p in range(32)]
    for boundary in range(7):
        east = sum(port <= boundary < channel for port, channel in minis)
        west = sum(channel <= boundary < port for port, channel in minis)
        assert found.bandwidth <= (32 - east - west + min(east, 2) + min(west, 2)) * PORT


def test_a_link_never_carries_more_than_its_beats() -> None:
    found = [rotation(by) for by in (2, 4, 8, 16)]
    assert all(0.99 < r.busiest_link <= 1 for r in found)


def test_links_that_are_twice_as_fast_are_noticed() -> None:
    """A planted fault, in the state and not in the specification."""

    def double(h: SwitchedHbm) -> None:
        h.p.link_beats[:] = 2
        h.queues.rate[h.queues.places == CALM.hbm_switch.link_buffer] = 2

    bursts = stream(0, 4, 200) + stream(1, 5, 200)
    found = [drive(CALM, bursts, UNTIL, fault=fault) for fault in (lambda _: None, double)]
    beats = [sum(beats_of(seen, port, WARM) for port in (0, 1)) for seen in found]
    assert beats[0] <= UNTIL - WARM < beats[1]


def test_the_table_says_what_was_measured() -> None:
    text = table(switched())
    assert "switch off            0 - 0    48      55    62    106.7" in text
    assert "farthest             0 - 31    77      84    91    171.1" in text
    assert "s = 4                 230.4    50.0%          7.20        100.0%" in text
