"""A switch whose numbers cannot be is refused in one line that names the key; so is a burst no port would take."""

from pathlib import Path

import pytest
from switch_traffic import SMALL, switched

from skipopu.sim.hbm_switch import accepts, free_slots, new_switched_hbm, push, tick
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.load import find

ROOM = "must cover a link's ticks and one more"
BAD = {  # settings of the section: what is said about it
    "local_request_ticks=7": "local_request_ticks = 7; is part of local_ticks; nearest: 6",
    "hop_request_ticks=2": "hop_request_ticks = 2; is part of hop_ticks; nearest: 1",
    "crossing_ticks=5": "crossing_request_ticks = 5; is part of crossing_ticks; nearest: 4",
    "stack_ports=2": "stack_ports = 2; must hold a mini-switch; nearest: 4",
    "links=8": "links = 8; one or more ports use a link; nearest: 4",
    "link_buffer=5": f"link_buffer = 5; {ROOM}; nearest: 6",
    "link_beats=3": f"link_buffer = 16; {ROOM}; nearest: 18",
    "mini_switch_ports=3": "mini_switch_ports = 3; must be a power of two; nearest: 4",
    "link_beats=0": "link_beats = 0; must be in 1..4 beat; nearest: 1",
    "identifiers=65": "identifiers = 65; must be in 1..64 ID; nearest: 64",
    "enabled=1": "enabled = 1; expected bool, e.g. true",
    "hops=1": "hops: unknown key",
}
UNFIT = {  # settings of the memory beside an enabled switch
    "channels=2": "mini_switch_ports = 4; hbm.channels = 2; nearest: 2",
    "controller_latency=125": "local_ticks = 7; more than 128 with hbm.controller_latency = 125; nearest: hbm.c",
}


@pytest.mark.parametrize(
    ("settings", "message"),
    [((f"hbm_switch.{key}",), message) for key, message in BAD.items()]
    + [(("hbm_switch.enabled=true", f"hbm.{key}"), message) for key, message in UNFIT.items()],
)
def test_a_bad_value_is_named(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Board.load("u280", settings)
    assert f"hbm_switch.{message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_board_file_without_its_switch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    shipped = find("board", "u280").read_text(encoding="utf-8")
    path.write_text(shipped.replace("links = {", "# links = {"), encoding="utf-8")
    with pytest.raises(SpecError, match=r"missing key 'hbm_switch.links'"):
        Board.load(str(path))


def test_a_memory_smaller_than_a_mini_switch_is_fine_while_the_switch_is_off() -> None:
    assert Board.load("u280", ("hbm.channels=2",)).local_hbm.channels == 2


def test_a_board_with_its_switch_off_has_no_switched_hbm() -> None:
    with pytest.raises(SpecError, match=r"^board u280: hbm_switch.enabled = False; a switched HBM needs true$"):
        new_switched_hbm(Board.load("u280"))


@pytest.mark.parametrize(("address", "beats"), [(0, 0), (0, 17), (4096 - 32, 2), (8192 - 256, 9)])
def test_a_burst_that_axi_forbids_is_refused(address: int, beats: int) -> None:
    with pytest.raises(ValueError, match="1 to max_burst_beats beats and stay inside 4 KiB"):
        push(new_switched_hbm(switched(*SMALL)), 0, address, beats, False, 0, 0, 0)


@pytest.mark.parametrize(
    ("port", "address", "identifier"), [(8, 0, 0), (-1, 0, 0), (0, 8 << 28, 0), (0, -32, 0), (0, 0, 64), (0, 0, -1)]
)
def test_what_the_hbm_does_not_have_is_refused(port: int, address: int, identifier: int) -> None:
    with pytest.raises(ValueError, match="a port, an address and an ID that the HBM has"):
        push(new_switched_hbm(switched(*SMALL)), port, address, 1, False, identifier, 0, 0)


def test_a_port_takes_a_read_and_a_write_a_tick_while_it_has_slots() -> None:
    h = new_switched_hbm(switched(*SMALL, "hbm.queue_depth=3"))
    for now, is_write in ((0, False), (0, True), (1, False)):
        assert accepts(h, 0, 0, is_write, 0, now)
        push(h, 0, 0, 1, is_write, 0, 0, now)
        assert not accepts(h, 0, 0, is_write, 0, now)
    assert free_slots(h, 0) == 0
    assert free_slots(h, 1) == 3
    with pytest.raises(ValueError, match="does not accept it"):
        push(h, 0, 0, 1, True, 0, 0, 2)


def test_an_id_is_bound_to_a_pseudo_channel_while_its_bursts_are_out() -> None:
    h, there = new_switched_hbm(switched(*SMALL)), 1 << 28
    push(h, 0, 0, 16, False, 5, 0, 0)
    assert accepts(h, 0, 512, False, 5, 1)
    assert not accepts(h, 0, there, False, 5, 1)
    assert accepts(h, 0, there, False, 6, 1)  # another ID
    assert accepts(h, 0, there, True, 5, 1)  # another direction
    assert accepts(h, 1, there, False, 5, 1)  # another port
    until = next(now for now in range(400) if tick(h, now) and h.ports[0].beat == 1)
    assert accepts(h, 0, there, False, 5, until + 1)
