"""cocotb bench of the PE array: drives every stream with its stalls, notes every event and every result."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.pe_array_events import (
    ANNOUNCE,
    CHUNKS,
    END,
    ISSUE,
    NO_PSUM,
    NO_ROW,
    NO_WEIGHTS,
    OPERATION,
    REQUEST,
    RESULTS,
    WEIGHTS,
    WORDS,
)
from skipopu.hdl.cosim.stalls import Source

RESET_CYCLES = 2
MISSING = (NO_WEIGHTS, NO_ROW, NO_PSUM)  # bit by bit, the first of them counts
IDLE = (
    "operation__valid", "weights__valid", "kv__valid", "constants__valid", "announce__valid", "row_valid",
    "request__ready", "results__ready",
)  # fmt: skip


def words(array: Any) -> list[int]:
    """Rows of bytes as integers, the first byte lowest."""
    return [int.from_bytes(row.tobytes(), "little") for row in array]


class Told:
    """A FIFO that its pattern fills."""

    def __init__(self, items: list[int], pattern: Any) -> None:
        self._items, self._pattern, self.pushed, self.next = items, pattern, 0, 0

    def offer(self, cycle: int) -> int | None:
        """Return what stands at the port in ``cycle``, None if nothing does."""
        if self.pushed < len(self._items):
            self.pushed += int(self._pattern[cycle % len(self._pattern)])
        return self._items[self.next] if self.valid else None

    @property
    def valid(self) -> bool:
        """There is something."""
        return self.next < self.pushed

    def taken(self) -> None:
        """The other side took it."""
        self.next += 1


class Behind(Source):
    """Items that come only once so many announcements stand at the port, or have stood there."""

    def __init__(self, items: list[Any], pattern: Any, needs: list[int], told: Told) -> None:
        super().__init__(items, pattern)
        self._needs, self._told = needs, told

    def offer(self, cycle: int) -> Any:
        """Return the item, if it may be there."""
        if not self.valid and self._next < len(self._needs) and self._told.pushed < self._needs[self._next]:
            return None
        return super().offer(cycle)


class Bench:
    """Sources and sinks round the block, stepped a cycle at a time."""

    def __init__(self, dut: Any) -> None:
        a = inputs()
        self.dut, self.a, self.cycles = dut, a, int(a["cycles"])
        told = Told(words(a["announcements"]), a["stall_announce"])
        self.sources: dict[str, tuple[Source | Told, int]] = {  # announcements first: chunks come behind them
            "announce": (told, ANNOUNCE),
            "operation": (Source(words(a["operations"]), a["stall_operation"]), OPERATION),
            "weights": (Source(words(a["weights"]), a["stall_weights"]), WEIGHTS),
            "kv": (Behind(words(a["chunks"]), a["stall_chunks"], a["needs"].tolist(), told), CHUNKS),
            "constants": (Source(words(a["words"]), a["stall_words"]), WORDS),
        }
        self.rows, self.latency = iter(zip(words(a["rows"]), words(a["rows_b"]), strict=True)), int(a["row_latency"])
        self.arrivals: deque[tuple[int, tuple[int, int]]] = deque()
        self.events = np.zeros(self.cycles, np.uint16)
        self.requests: list[int] = []
        self.results: list[int] = []
        self.rounds: list[int] = []
        self.ended = False

    async def start(self) -> None:
        """Clock and reset; returns just after the edge that begins cycle 0."""
        for name in IDLE:
            getattr(self.dut, name).value = 0
        Clock(self.dut.clk, 2, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(RESET_CYCLES):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def drive(self, cycle: int) -> None:
        """Put this cycle's inputs on the ports."""
        dut = self.dut
        for name, (source, _) in self.sources.items():
            item = source.offer(cycle)
            getattr(dut, f"{name}__valid").value = item is not None
            if item is not None:
                getattr(dut, f"{name}__payload").value = item
        for name in ("request", "results"):
            pattern = self.a[f"stall_{name}"]
            getattr(dut, f"{name}__ready").value = int(pattern[cycle % len(pattern)])
        arrives = bool(self.arrivals) and self.arrivals[0][0] == cycle
        dut.row_valid.value = arrives
        if arrives:
            dut.row.value, second = self.arrivals.popleft()[1]
            if hasattr(dut, "row_b"):
                dut.row_b.value = second

    def note(self, cycle: int) -> None:
        """See which streams move in this cycle, what leaves, and what the next row waits for."""
        dut, moved = self.dut, 0
        if self.ended:
            self.rounds.append(dut.rounds.value.to_unsigned())
        for name, (source, event) in self.sources.items():
            if source.valid and getattr(dut, f"{name}__ready").value == 1:
                source.taken()
                moved |= event
        if dut.request__ready.value == 1 and dut.request__valid.value == 1:
            self.requests.append(dut.request__payload.value.to_unsigned())
            self.arrivals.append((cycle + self.latency, next(self.rows, (0, 0))))
            moved |= REQUEST
        if dut.results__ready.value == 1 and dut.results__valid.value == 1:
            self.results.append(dut.results__payload.value.to_unsigned())
            moved |= RESULTS
        self.ended = dut.ended.value == 1
        self.events[cycle] = moved | self._issue() | (END if self.ended else 0)

    def _issue(self) -> int:
        if self.dut.busy.value == 1:
            return ISSUE
        missing = self.dut.missing.value.to_unsigned() if self.dut.active.value == 1 else 0
        return next((event for bit, event in enumerate(MISSING) if missing >> bit & 1), 0)

    def finish(self) -> None:
        """Leave the notes; results as bytes, their flags in the highest one."""
        size = len(self.dut.results__payload) // 8 + 1
        results = b"".join(value.to_bytes(size, "little") for value in self.results)
        found = np.frombuffer(results, np.uint8).reshape(-1, size)
        write_outputs(
            events=self.events, requests=np.array(self.requests, np.int64), results=found,
            rounds=np.array(self.rounds, np.int64),
        )  # fmt: skip


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
