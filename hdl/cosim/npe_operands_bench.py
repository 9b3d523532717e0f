"""cocotb bench of the NPE's operand side: IFM, global buffer and constants round it; notes all that leaves."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import Immediate
from cocotb.triggers import Timer

from skipopu.hdl.cosim.bench import Arrays, inputs, write_outputs
from skipopu.hdl.cosim.flags import Flags
from skipopu.hdl.cosim.npe_operands_events import EVENTS, READ, REQUEST, ROW, WRITE_BACK
from skipopu.hdl.tile_loop import TILE_BITS

RESET_CYCLES = 2
LOW, HIGH = Immediate(0), Immediate(1)
STATISTICS = EVENTS[-4:]
PORTS = {"row": "row", "write_back": "write_back", "read_row": "read_row"}
PORTS |= {name: f"written_{name}" for name in STATISTICS}


def words(array: Any) -> list[int]:
    """Rows of bytes as integers, the first byte lowest."""
    return [int.from_bytes(row.tobytes(), "little") for row in array]


class GlobalBuffer:
    """Row tiles of the operations; a tile is read in the cycle of its request and written in that of its write-back."""

    def __init__(self, a: Arrays) -> None:
        self.tiles, self.constants = words(a["tiles"]), words(a["constants"])
        self._base = self._rows = self._parts = self._constants = 0
        self._shift = 8 * a["tiles"].shape[1]

    def operation(self, base: int, rows: int, parts: int, constants: int) -> None:
        """Where the rows of the next operation lie, and its constants."""
        self._base, self._rows, self._parts, self._constants = base, rows, parts, constants

    def read(self, payload: int) -> int:
        """Return a tile with the constants beside it."""
        tile = payload & ((1 << TILE_BITS) - 1)
        constants = self.constants[(self._constants + tile) % len(self.constants)]
        return int(self.tiles[self._place(payload)] | constants << self._shift)

    def write(self, payload: int, tile: int) -> None:
        """Write a tile back."""
        self.tiles[self._place(payload)] = tile

    def _place(self, payload: int) -> int:
        tile, row = payload & ((1 << TILE_BITS) - 1), payload >> TILE_BITS
        return (self._base + tile // self._parts * self._rows + row) % len(self.tiles)


class Bench:
    """The operand side with all that is round it, stepped a cycle at a time."""

    def __init__(self, dut: Any) -> None:
        a = inputs()
        self.dut, self.a, self.buffer = dut, a, GlobalBuffer(a)
        self.flags = Flags(dut, a["flags_in"].tolist(), a["flags_out"].tolist())
        self.stages, self.expected = int(a["read_stages"]), a["events"].tolist()
        self.request, self.read = (a[f"stall_{name}"].tolist() for name in ("request", "read"))
        self.starts = deque(zip(a["starts"].tolist(), words(a["operations"]), a["settings"].tolist(), strict=True))
        self.payloads, self.ends = a["requests"].tolist(), deque(a["ends"].tolist())
        self.next = self.end = 0  # request
        self.offered = False
        self.arrivals: deque[tuple[int, int]] = deque()
        self.events: list[int] = []
        self.found: dict[str, list[int]] = {name: [] for name in PORTS}
        self.step = Timer(1, unit="ns")
        self.names = [(1 << bit, name) for bit, name in enumerate(EVENTS) if name in STATISTICS]

    async def edge(self, flags: int) -> int:
        """One cycle with these inputs; return the outputs."""
        self.dut.clk.set(LOW)
        self.flags.write(flags)
        await self.step
        return self.flags.read()

    async def reset(self) -> None:
        """Reset; afterwards the clock stands high, in cycle 0."""
        self.dut.rst.set(HIGH)
        for _ in range(RESET_CYCLES):
            await self.edge(0)
            self.dut.clk.set(HIGH)
            await self.step
        self.dut.rst.set(LOW)

    def drive(self, cycle: int) -> int:
        """Put this cycle's inputs on the ports; return the flags start, request valid, read ready."""
        if self.starts and self.starts[0][0] == cycle - 1:
            self._begin(*self.starts.popleft()[1:])
        start = bool(self.starts) and self.starts[0][0] == cycle
        if not self.offered and self.next < self.end and self.request[cycle % len(self.request)]:
            self.offered = True
            self.dut.request__payload.set(Immediate(self.payloads[self.next]))
        if self.arrivals and self.arrivals[0][0] == cycle:
            self.dut.operand.set(Immediate(self.arrivals.popleft()[1]))
        return int(start | self.offered << 1 | self.read[cycle % len(self.read)] << 2)

    def _begin(self, operation: int, settings: list[int]) -> None:
        """The operation's fields change the cycle after its start."""
        self.end = self.ends.popleft()
        share, epsilon, *place = settings
        self.dut.operation.set(Immediate(operation))
        self.dut.share.set(Immediate(share))
        self.dut.epsilon.set(Immediate(epsilon))
        self.buffer.operation(*place)

    def note(self, cycle: int, flags: int) -> bool:
        """See what moves in this cycle and what leaves; False if something else should have moved."""
        read = self.read[cycle % len(self.read)]
        moved = flags & ~(0 if self.offered else REQUEST) & ~(0 if read else READ)
        self.events.append(moved)
        if moved != self.expected[cycle]:
            return False
        self._note(cycle, moved)
        return True

    def _note(self, cycle: int, moved: int) -> None:
        """What is written back can be read in the next cycle."""
        dut, found = self.dut, self.found
        if moved & READ:
            word = self.buffer.read(dut.read__payload.value.to_unsigned())
            self.arrivals.append((cycle + self.stages, word))
        if self.arrivals and self.arrivals[0][0] == cycle + 1:  # the statistics of its row are looked up
            found["read_row"].append(dut.read_row.value.to_unsigned())
        if moved & REQUEST:
            self.next, self.offered = self.next + 1, False
        if moved & ROW:
            found["row"].append(dut.row.value.to_unsigned())
        if moved & WRITE_BACK:
            found["write_back"].append(dut.write_back.value.to_unsigned())
            self.buffer.write(found["write_back"][-1], dut.row.value.to_unsigned())
        for bit, name in self.names:
            if moved & bit:
                found[name].append(getattr(dut, PORTS[name]).value.to_unsigned())

    def finish(self) -> None:
        """Leave the notes; rows as bytes."""
        size = len(self.dut.row) // 8
        rows = np.frombuffer(b"".join(row.to_bytes(size, "little") for row in self.found.pop("row")), "<u2")
        found = {name: np.array(values, np.int64) for name, values in self.found.items()}
        write_outputs(events=np.array(self.events, np.uint8), rows=rows.reshape(-1, size // 2), **found)


@cocotb.test()
async def npe_operands(dut: Any) -> None:
    """Run as many cycles as the simulator took, or up to the first that differs."""
    bench = Bench(dut)
    await bench.reset()
    for cycle in range(len(bench.expected)):
        if not bench.note(cycle, await bench.edge(bench.drive(cycle))):
            break
        dut.clk.set(HIGH)
        await bench.step
    bench.finish()
