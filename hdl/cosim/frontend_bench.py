"""cocotb bench of the frontend: a memory of the simplest kind, program after program; notes every cycle."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.frontend_shell import SEEN

RESET_CYCLES = 2
BEAT_BYTES, BURST_BEATS = 64, 16


def field(word: int, *path: str) -> int:
    """Return a field of what is seen."""
    layout, shift, width = SEEN, 0, 0
    for name in path:
        place: Any = layout[name]
        shift, width, layout = shift + place.offset, place.width, place.shape
    return word >> shift & (1 << width) - 1


class Memory:
    """The program, and beats on their way."""

    def __init__(self, dut: Any, words: Any, address: int, a: dict[str, Any], crossing: int) -> None:
        raw = words.tobytes()
        self.dut, self.crossing = dut, crossing
        self.beats = [raw[k : k + BEAT_BYTES].ljust(BEAT_BYTES, b"\0") for k in range(0, len(raw), BEAT_BYTES)]
        self.first = address * BURST_BEATS
        self.latency, self.gap = deque(a["latency"].tolist()), deque(a["gap"].tolist())
        self.last: int | None = None
        self.due: deque[tuple[int, bytes]] = deque()

    def drive(self, cycle: int) -> None:
        """Give the beat that is due."""
        valid = bool(self.due) and self.due[0][0] == cycle
        self.dut.words__valid.value = valid
        if valid:
            self.dut.words__payload.value = int.from_bytes(self.due.popleft()[1], "little")

    def ask(self, cycle: int, address: int, beats: int) -> None:
        """Answer a burst; what lies elsewhere is zero."""
        soonest = cycle + self.latency.popleft()
        for place in range(address - self.first, address - self.first + beats):
            gap = self.gap.popleft()
            self.last = soonest if self.last is None else max(self.last + 1 + gap, soonest)
            data = self.beats[place] if 0 <= place < len(self.beats) else bytes(BEAT_BYTES)
            self.due.append((self.last + self.crossing, data))


async def run(dut: Any, a: dict[str, Any], words: Any, crossing: int, most: int) -> list[int]:
    """One program from reset to a cycle after its end; what was seen in every cycle."""
    address, count = int(a["address"]), len(words)
    memory = Memory(dut, words, address, a, crossing)
    ready, taken, errors = a["ready"].tolist(), a["taken"].tolist(), a["error"].tolist()
    dut.start.value = dut.words__valid.value = dut.memory_error.value = 0
    dut.rst.value = 1
    for _ in range(RESET_CYCLES):
        await RisingEdge(dut.clk)
    dut.rst.value, dut.start.value, dut.address.value, dut.count.value = 0, 1, address, count
    await RisingEdge(dut.clk)
    dut.start.value = 0
    found: list[int] = []
    rest = count + 2  # for the retire stream
    while len(found) < most and rest:
        cycle = len(found)
        may_ask = ready[cycle % len(ready)]
        dut.burst_ready.value, dut.retired_ready.value = may_ask, taken[cycle % len(taken)]
        dut.memory_error.value = errors[1] if cycle == errors[0] else 0
        memory.drive(cycle)
        await FallingEdge(dut.clk)
        seen = int(dut.seen.value.to_unsigned())
        if may_ask and field(seen, "burst_valid"):
            memory.ask(cycle, field(seen, "burst", "address"), field(seen, "burst", "beats"))
        rest -= not field(seen, "running")
        found.append(seen)
        await RisingEdge(dut.clk)
    return found


@cocotb.test()
async def frontend(dut: Any) -> None:
    """All programs."""
    a = inputs()
    Clock(dut.clk, 2, unit="ns").start()
    size, found, lengths = SEEN.size // 8 + 1, [], []
    for number in range(int(a["programs"])):
        mine = {name.removeprefix(f"{number}_"): each for name, each in a.items() if name.startswith(f"{number}_")}
        seen = await run(dut, mine, mine["words"], int(a["crossing"]), int(a["most"]))
        found += [word.to_bytes(size, "little") for word in seen]
        lengths.append(len(seen))
    write_outputs(seen=np.frombuffer(b"".join(found), np.uint8).reshape(-1, size), lengths=np.array(lengths))
