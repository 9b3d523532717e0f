"""Ports that use their own pseudo-channels see the plain DRAM, with the switch's ticks added, and nothing else.

That is what `sim.hbm.new_hbm` relies on: it gives the overlay's machine `Board.local_hbm`.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from switch_traffic import SMALL, Burst, drive, drive_alone, stream, switched

from skipopu.sim.dram import new_dram
from skipopu.sim.hbm import new_hbm
from skipopu.spec.board import Board

BOARDS = [
    switched(*SMALL),
    switched(*SMALL, "hbm.queue_depth=3", "hbm_switch.local_ticks=12"),
    switched(*SMALL, "hbm_switch.link_beats=2", "hbm.look_ahead=0", "hbm_switch.local_request_ticks=6"),
]
UNTIL = 4000


@st.composite
def local_traffic(draw: st.DrawFn) -> list[Burst]:
    """Up to 150 bursts of up to 4 ports, in few rows, at least a third of them back to back."""
    ports = draw(st.lists(st.integers(0, 7), min_size=1, max_size=4))
    start = st.sampled_from([0, 0, 1, 2, 40, 300, 1090])
    row = st.sampled_from([0, 16384, 1 << 20])
    burst = st.builds(
        lambda start, port, row, place, beats, is_write: Burst(start, port, port, row + place * 512, beats, is_write),
        start, st.sampled_from(ports), row, st.integers(0, 31), st.integers(1, 16), st.booleans(),
    )  # fmt: skip
    return sorted(draw(st.lists(burst, min_size=1, max_size=150)), key=lambda b: (b.port, b.start))


@given(st.sampled_from(BOARDS), local_traffic())
@settings(max_examples=60)
def test_local_traffic_is_that_of_the_dram_with_the_ticks_added(board: Board, bursts: list[Burst]) -> None:
    seen = drive(board, bursts, UNTIL)
    assert (seen.accepted, seen.arrivals) == drive_alone(board.local_hbm, bursts, UNTIL)


def test_a_delay_on_the_wrong_way_would_be_noticed() -> None:
    board = BOARDS[0]
    bursts = [b for port in range(8) for b in stream(port, port, 80)]
    switch = board.hbm_switch
    swapped = board.hbm.delayed(switch.local_response_ticks, switch.local_request_ticks)
    right = drive(board, bursts, UNTIL)
    assert (right.accepted, right.arrivals) == drive_alone(board.local_hbm, bursts, UNTIL)
    assert (right.accepted, right.arrivals) != drive_alone(swapped, bursts, UNTIL)


@pytest.mark.parametrize("enabled", [False, True])
def test_the_machine_gets_the_memory_that_a_local_port_sees(enabled: bool) -> None:
    board = Board.load("u280", (f"hbm_switch.enabled={str(enabled).lower()}",))
    assert new_hbm(board).parameters.tobytes() == new_dram(board.local_hbm).parameters.tobytes()
    assert board.local_hbm.read_latency == board.hbm.read_latency + 7 * enabled
    assert (board.local_hbm == board.hbm) is not enabled


def test_local_traffic_is_untouched_by_others_that_pass_through_its_mini_switch() -> None:
    board = switched()
    local = [b for port in (8, 9, 10, 11) for b in stream(port, port, 60)]
    west, east = ([b for port in ports for b in stream(port, port ^ 31, 60)] for ports in ((0, 1, 6), (24, 27)))
    alone = drive(board, local, 2500)
    beside = drive(board, west + local + east, 2500)
    shift = len(west)  # tags count through the list
    mine = [(t, p, k, tag - shift, last) for t, p, k, tag, last in beside.arrivals if p in (8, 9, 10, 11)]
    assert mine == alone.arrivals
    assert beside.accepted[shift : shift + len(local)] == alone.accepted
