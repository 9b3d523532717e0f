"""cocotb bench of the PE array: drives every stream with its stalls, notes every event and every result."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.pe_array_events import ISSUE, OPERATION, REQUEST, RESULTS, WEIGHTS
from skipopu.hdl.cosim.stalls import Source

RESET_CYCLES = 2


def words(array: Any) -> list[int]:
    """Rows of bytes as integers, the first byte lowest."""
    return [int.from_bytes(row.tobytes(), "little") for row in array]


class Bench:
    """Sources and sinks round the block, stepped a cycle at a time."""

    def __init__(self, dut: Any) -> None:
        a = inputs()
        self.dut, self.a, self.cycles = dut, a, int(a["cycles"])
        self.operations = Source([int(o) for o in a["operations"]], a["stall_operation"])
        self.weights = Source(words(a["weight_words"]), a["stall_weights"])
        self.rows, self.latency = iter(words(a["row_words"])), int(a["row_latency"])
        self.arrivals: deque[tuple[int, int]] = deque()
        self.events = np.zeros(self.cycles, np.uint8)
        self.requests: list[int] = []
        self.results: list[int] = []

    async def start(self) -> None:
        """Clock and reset; returns just after the edge that begins cycle 0."""
        self._idle()
        Clock(self.dut.clk, 2, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(RESET_CYCLES):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def _idle(self) -> None:
        for name in ("operation__valid", "weights__valid", "row_valid", "request__ready", "results__ready"):
            getattr(self.dut, name).value = 0

    def drive(self, cycle: int) -> None:
        """Put this cycle's inputs on the ports."""
        dut = self.dut
        for source, valid, payload in (
            (self.operations, dut.operation__valid, dut.operation__payload),
            (self.weights, dut.weights__valid, dut.weights__payload),
        ):
            item = source.offer(cycle)
            valid.value = item is not None
            if item is not None:
                payload.value = item
        for name, port in (("request", dut.request__ready), ("results", dut.results__ready)):
            pattern = self.a[f"stall_{name}"]
            port.value = int(pattern[cycle % len(pattern)])
        arrives = bool(self.arrivals) and self.arrivals[0][0] == cycle
        dut.row_valid.value = arrives
        if arrives:
            dut.row.value = self.arrivals.popleft()[1]

    def note(self, cycle: int) -> None:
        """See which streams move in this cycle, and what leaves."""
        dut, moved = self.dut, 0
        if self.operations.valid and dut.operation__ready.value == 1:
            self.operations.taken()
            moved |= OPERATION
        if self.weights.valid and dut.weights__ready.value == 1:
            self.weights.taken()
            moved |= WEIGHTS
        if dut.request__ready.value == 1 and dut.request__valid.value == 1:
            self.requests.append(dut.request__payload.value.to_unsigned())
            self.arrivals.append((cycle + self.latency, next(self.rows, 0)))
            moved |= REQUEST
        if dut.busy.value == 1:
            moved |= ISSUE
        if dut.results__ready.value == 1 and dut.results__valid.value == 1:
            self.results.append(dut.results__payload.value.to_unsigned())
            moved |= RESULTS
        self.events[cycle] = moved

    def finish(self) -> None:
        """Leave the notes; results as bytes, the ``last`` bit in the highest one."""
        size = len(self.dut.results__payload) // 8 + 1
        results = b"".join(value.to_bytes(size, "little") for value in self.results)
        found = np.frombuffer(results, np.uint8).reshape(-1, size)
        write_outputs(events=self.events, requests=np.array(self.requests, np.int64), results=found)


@cocotb.test()
async def pe_array(dut: Any) -> None:
    """Run as many cycles as the simulator took."""
    bench = Bench(dut)
    await bench.start()
    for cycle in range(bench.cycles):
        bench.drive(cycle)
        await FallingEdge(dut.clk)
        bench.note(cycle)
        await RisingEdge(dut.clk)
    bench.finish()
