"""The AXI memory with an image: reads find it, writes cover it, and what was written can be told from it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory import serve
from skipopu.hdl.cosim.axi_memory_contents import beat_key, contents, preload
from skipopu.hdl.cosim.axi_memory_rules import RULES, TOO_MUCH
from skipopu.hdl.cosim.axi_memory_state import AR, AW, WORDS, AxiMemory, new_axi_memory, stall_names
from skipopu.spec.board import Board
from skipopu.spec.overlay import HBM_BEAT_BYTES

BOARD, PORTS, PLACES = Board.load("u280"), 2, 12
PLACE = st.tuples(st.integers(0, PORTS - 1), st.integers(0, PLACES - 1))


def memory_of(image: dict[tuple[int, int], int], room: int) -> AxiMemory:
    """Beats of one repeated byte, by port and place."""
    stalls = {name: np.ones(1, np.uint8) for name in stall_names(PORTS)}
    memory = new_axi_memory(BOARD, PORTS, stalls, room, 1000, image=len(image))
    keys = np.array([beat_key(port, place * HBM_BEAT_BYTES) for port, place in image], np.int64)
    preload(memory, keys, np.array([beat(value) for value in image.values()], np.uint64).reshape(-1, WORDS))
    return memory


def beat(value: int) -> NDArray[np.uint64]:
    return np.full(HBM_BEAT_BYTES, value, np.uint8).view(np.uint64)


class Master:
    """One beat at a time, at one port after another."""

    def __init__(self, memory: AxiMemory) -> None:
        self.memory, self.now = memory, 0

    def _ask(self, port: int, channel: int, place: int) -> None:
        c = self.memory.ports[port]
        c.valid[channel], c.address[channel], c.beats[channel] = 1, place * HBM_BEAT_BYTES, 1
        taken = False
        while not taken:
            self.tick()
            taken = bool(c.ready[channel])
        c.valid[channel] = c.w_valid = 0

    def tick(self) -> None:
        serve(self.memory, self.now)
        self.now += 1

    def write(self, port: int, place: int, value: int) -> None:
        c = self.memory.ports[port]
        c.w_valid, c.w_last, c.w_data[:] = 1, 1, beat(value)
        self._ask(port, AW, place)
        while not c.b_valid:
            self.tick()

    def read(self, port: int, place: int) -> NDArray[np.uint64]:
        self._ask(port, AR, place)
        c = self.memory.ports[port]
        while not c.r_valid:
            self.tick()
        return np.array(c.r_data)


@given(
    st.dictionaries(PLACE, st.integers(0, 255), max_size=8),
    st.lists(st.tuples(PLACE, st.integers(0, 255) | st.none()), max_size=16),
)
def test_a_read_finds_what_was_written_last_or_the_image(
    image: dict[tuple[int, int], int], work: list[tuple[tuple[int, int], int | None]]
) -> None:
    master, written = Master(memory_of(image, len(work))), dict[tuple[int, int], int]()
    for place, value in work:
        if value is None:
            expected = (image | written).get(place)
            found = master.read(*place)
            assert expected is None or (found == beat(expected)).all()
        else:
            master.write(*place, value)
            written[place] = value
    keys, data = contents(master.memory)
    assert keys.tolist() == sorted(beat_key(port, place * HBM_BEAT_BYTES) for port, place in written)
    by_key = {beat_key(port, place * HBM_BEAT_BYTES): value for (port, place), value in written.items()}
    assert all((data[n] == beat(by_key[key])).all() for n, key in enumerate(keys.tolist()))
    assert master.memory.total[0].broken == 0


def test_more_than_there_is_room_for_breaks_a_rule() -> None:
    master = Master(memory_of({}, 1))
    master.write(0, 0, 1)
    assert master.memory.total[0].broken == 0
    master.write(0, 1, 2)
    assert RULES[master.memory.total[0].broken] == RULES[TOO_MUCH]
