"""cocotb bench of the result path: sums, side data and stalls in, every event, request and result noted."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import Immediate
from cocotb.triggers import FallingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.npe_results_events import (
    ENTRY,
    GIVE_OPERATION,
    GIVE_SIDE,
    GIVE_SUMS,
    LOGITS,
    OPERATION,
    REQUEST,
    RESULT,
    TAKE_REQUEST,
    WRITE_ROTARY,
)

RESET_CYCLES = 2


def words(array: Any) -> list[int]:
    """Rows of bytes as integers, the first byte lowest."""
    size, data = array.shape[1], array.tobytes()
    return [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]


class Offered:
    """A source: its item stands at the port from the first cycle its pattern allows until it is taken."""

    def __init__(self, port: Any, items: list[int], pattern: Any) -> None:
        self.port, self.items, self.pattern, self.valid = port, iter(items), pattern.tolist(), False
        self.item = next(self.items, None)

    def offer(self, at: int) -> bool:
        """Put the next item on the port, if it may be there."""
        if not self.valid and self.item is not None and self.pattern[at]:
            self.valid = True
            self.port.set(Immediate(self.item))
        return self.valid

    def taken(self) -> None:
        """Go on to the next item."""
        self.item, self.valid = next(self.items, None), False


class Bench:
    """Stepped at the falling edge: what is read belongs to this cycle, what is written to the next."""

    def __init__(self, dut: Any) -> None:
        a = inputs()
        self.dut, self.a = dut, a
        self.operations = Offered(dut.operation, words(a["operations"]), a["stall_operation"])
        self.sums = Offered(dut.sums, words(a["sums"]), a["stall_sums"])
        self.ready, self.stalls = a["stall_request"].tolist(), len(a["stall_request"])
        self.side, self.latency = iter(words(a["side"])), int(a["row_latency"])
        self.expected = a["expected"].tolist()
        self.trace: list[int] = []
        self.arrivals: deque[tuple[int, int]] = deque()
        self.flags = -1
        self.payloads: dict[str, list[int]] = {"request": [], "result": [], "logits": []}

    async def start(self) -> None:
        """Reset, then the ROT buffer; returns in the cycle before cycle 0."""
        dut = self.dut
        self.write(0)
        dut.rst.value = 1
        Clock(dut.clk, 2, unit="ns").start()
        for _ in range(RESET_CYCLES):
            await FallingEdge(dut.clk)
        dut.rst.value = 0
        for address, word in enumerate(words(self.a["rotary"])):
            dut.rotary_address.set(Immediate(address))
            dut.rotary_data.set(Immediate(word))
            self.write(WRITE_ROTARY)
            await FallingEdge(dut.clk)

    def write(self, flags: int) -> None:
        """Set the flags, if one has changed."""
        if flags != self.flags:
            self.dut.given.set(Immediate(flags))
            self.flags = flags

    def drive(self, cycle: int) -> None:
        """What stands at the ports in ``cycle``, the one to come."""
        at = cycle % self.stalls
        flags = TAKE_REQUEST if self.ready[at] else 0
        if self.operations.offer(at):
            flags |= GIVE_OPERATION
        if self.sums.offer(at):
            flags |= GIVE_SUMS
        if self.arrivals and self.arrivals[0][0] == cycle:
            self.dut.side.set(Immediate(self.arrivals.popleft()[1]))
            flags |= GIVE_SIDE
        self.write(flags)

    def note(self, cycle: int) -> None:
        """What moves in this cycle."""
        dut, flags = self.dut, self.flags
        seen = int(dut.seen.value)
        moved = seen & (LOGITS | RESULT)
        if flags & GIVE_OPERATION and seen & OPERATION:
            self.operations.taken()
            moved |= OPERATION
        if flags & GIVE_SUMS and seen & ENTRY:
            self.sums.taken()
            moved |= ENTRY
        if flags & TAKE_REQUEST and seen & REQUEST:
            self.payloads["request"].append(int(dut.request.value))
            self.arrivals.append((cycle + self.latency, next(self.side, 0)))
            moved |= REQUEST
        if seen & RESULT:
            self.payloads["result"].append(int(dut.result.value))
        if seen & LOGITS:
            self.payloads["logits"].append(int(dut.logits.value))
        self.trace.append(moved)

    def finish(self) -> None:
        """Leave the notes, payloads as rows of bytes."""
        found = {"trace": np.array(self.trace, np.uint8)}
        for name, values in self.payloads.items():
            size = len(getattr(self.dut, name)) // 8 + 1
            data = b"".join(value.to_bytes(size, "little") for value in values)
            found[name] = np.frombuffer(data, np.uint8).reshape(-1, size)
        write_outputs(**found)


@cocotb.test()
async def npe_results(dut: Any) -> None:
    """Run as many cycles as the simulator took, or up to the first that differs."""
    bench = Bench(dut)
    await bench.start()
    for cycle, expected in enumerate(bench.expected):
        bench.drive(cycle)
        await FallingEdge(dut.clk)
        bench.note(cycle)
        if bench.trace[cycle] != expected:
            break
    bench.finish()
