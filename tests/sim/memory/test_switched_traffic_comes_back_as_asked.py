"""Random traffic over the switch, against an oracle that tells its rules a second time in plain Python."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from switch_traffic import SMALL, Arrival, Burst, Seen, drive, expected, switched

from skipopu.sim.hbm_switch_state import DATA, RESPONSES, WRITES, SwitchedHbm
from skipopu.spec.board import Board

BOARDS = [
    switched(*SMALL),
    switched(*SMALL, "hbm_switch.links=1", "hbm_switch.link_buffer=6", "hbm.queue_depth=5"),
    switched(*SMALL, "hbm_switch.mini_switch_ports=4", "hbm_switch.hop_ticks=5", "hbm_switch.identifiers=2"),
]
UNTIL = 2500


@st.composite
def traffic(draw: st.DrawFn) -> list[Burst]:
    """Up to 60 bursts of 8 ports: few or many pseudo-channels, rows, IDs; back to back or with pauses."""
    channels = draw(st.lists(st.integers(0, 7), min_size=1, max_size=8))
    count = draw(st.integers(1, 60))
    bursts = [draw(_burst(channels)) for _ in range(count)]
    return sorted(bursts, key=lambda b: (b.port, b.start))


@st.composite
def _burst(draw: st.DrawFn, channels: list[int]) -> Burst:
    beats = draw(st.sampled_from([1, 2, 7, 16, 16]))
    offset = draw(st.integers(0, 63)) * 512 + draw(st.sampled_from([0, 0, 1 << 20]))
    return Burst(
        start=draw(st.sampled_from([0, 0, 1, 40, 300])),
        port=draw(st.integers(0, 7)),
        channel=draw(st.sampled_from(channels)),
        offset=offset,
        beats=beats,
        is_write=draw(st.integers(0, 2)) == 0,
        identifier=draw(st.integers(0, 1)),
    )


@given(st.sampled_from(BOARDS), traffic())
@settings(max_examples=40)
def test_everything_arrives_when_the_rules_say(board: Board, bursts: list[Burst]) -> None:
    seen = drive(board, bursts, UNTIL)
    assert min(seen.accepted) >= 0
    assert seen.arrivals == told(board, bursts, seen)


def told(board: Board, bursts: list[Burst], seen: Seen) -> list[Arrival]:
    """What the oracle says until a while after the model's last arrival."""
    return expected(board, bursts, seen.accepted, seen.arrivals[-1][0] + 100)


@given(st.sampled_from(BOARDS), traffic())
@settings(max_examples=100)
def test_every_beat_comes_back_once_and_in_order_of_its_port_and_id(board: Board, bursts: list[Burst]) -> None:
    seen = drive(board, bursts, UNTIL)
    check_order(bursts, seen)
    assert not seen.hbm.ports.outstanding.any()
    assert not seen.hbm.channels.held.any()
    assert not seen.hbm.waiting.any()
    assert (seen.hbm.queues.head == seen.hbm.queues.tail).all()


def check_order(bursts: list[Burst], seen: Seen) -> None:
    """Each port and ID sees the beats and responses of its bursts, and no others, in the order asked."""
    keys = {(b.port, b.is_write, b.identifier) for b in bursts}
    for port, is_write, identifier in keys:
        mine = [i for i, b in enumerate(bursts) if (b.port, b.is_write, b.identifier) == (port, is_write, identifier)]
        want = [(i, beat == n - 1) for i in mine for n in [1 if is_write else bursts[i].beats] for beat in range(n)]
        kind = "response" if is_write else "beat"
        assert [(t, last) for _, p, k, t, last in seen.arrivals if p == port and k == kind and t in mine] == want
    total = sum(1 if b.is_write else b.beats for b in bursts)
    assert len(seen.arrivals) == total


def test_the_same_bursts_give_the_same_ticks_and_the_same_state() -> None:
    bursts = crowd()
    one, two = drive(BOARDS[0], bursts, UNTIL), drive(BOARDS[0], bursts, UNTIL)
    assert (one.accepted, one.arrivals) == (two.accepted, two.arrivals)
    for a, b in zip(one.hbm[2:], two.hbm[2:], strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def crowd() -> list[Burst]:
    """Every port reads and writes everywhere at once, two IDs, back to back."""
    return [
        Burst(0, port, (port * 3 + i * 5) % 8, i * 512 + port * 65536, 16, i % 4 == 3, i % 2)
        for port in range(8)
        for i in range(12)
    ]


def links(network: int) -> Callable[[SwitchedHbm], slice]:
    """Outputs of a network."""
    return lambda h: slice(network * len(h.outputs) // 4, (network + 1) * len(h.outputs) // 4)


def faster(h: SwitchedHbm) -> None:
    h.outputs.ticks[links(WRITES)(h)] = np.minimum(h.outputs.ticks[links(WRITES)(h)], 1)


def forgotten_crossing(h: SwitchedHbm) -> None:
    h.outputs.ticks[links(DATA)(h)] = np.minimum(h.outputs.ticks[links(DATA)(h)], 1)


def short_buffers(h: SwitchedHbm) -> None:
    state = h.queues[links(DATA)(h)]
    state.places[state.places == BOARDS[0].hbm_switch.link_buffer] = 4


def late_responses(h: SwitchedHbm) -> None:
    h.outputs.ticks[links(RESPONSES)(h)] += 1


def wrong_request_ticks(h: SwitchedHbm) -> None:
    h.p.request_ticks[:] += 1


FAULTS = [faster, forgotten_crossing, short_buffers, late_responses, wrong_request_ticks]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught(fault: Callable[[SwitchedHbm], None]) -> None:
    bursts = crowd()
    seen = drive(BOARDS[0], bursts, UNTIL, fault=fault)
    assert seen.arrivals != told(BOARDS[0], bursts, seen)


def test_an_arbiter_that_always_begins_with_the_same_input_is_caught() -> None:
    bursts = crowd()
    seen = drive(BOARDS[0], bursts, UNTIL, always_first=True)
    assert seen.arrivals != told(BOARDS[0], bursts, seen)


def test_the_same_crowd_on_a_sound_model_is_what_the_rules_say() -> None:
    bursts = crowd()
    seen = drive(BOARDS[0], bursts, UNTIL)
    assert seen.arrivals == told(BOARDS[0], bursts, seen)
