"""cocotb bench of the whole NPE: row block after row block, what leaves one side comes back on the other."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.program.isa import Gate

RESET_CYCLES = 2
STREAMS = ("sums", "result_request", "operand_request")
IDLE = (
    "result_operation__valid", "sums__valid", "operand_request__valid", "operand_start", "bias", "residual",
    "rotary__valid",
)  # fmt: skip
KEPT = ("executed", "request", "result", "read", "probabilities", "normalized")


def words(array: Any) -> deque[int]:
    """Rows of bytes as integers, the first byte lowest."""
    return deque(int.from_bytes(row.tobytes(), "little") for row in array)


class Bench:
    """The NPE, stepped a cycle at a time; nothing stalls."""

    def __init__(self, dut: Any) -> None:
        a = inputs()
        self.dut, self.stages, self.rest = dut, int(a["read_stages"]), int(a["rest"])
        self.blocks, self.constants = a["blocks"].tolist(), {n: words(a[n])[0] for n in ("scale", "share", "epsilon")}
        self.given = {n: words(a[n]) for n in ("operations", "routes", "sums", "visible", "requests", "tiles", "gamma")}
        self.padding = int(str(a["padding"])) << len(dut.result)
        self.found: dict[str, list[int]] = {name: [] for name in KEPT}
        self.arriving: deque[tuple[int, str, int]] = deque()
        self.cycle = 0
        self.moved: dict[str, bool] = {}

    async def start(self) -> None:
        """Clock and reset."""
        for name in IDLE:
            getattr(self.dut, name).value = 0
        for name, value in self.constants.items():
            getattr(self.dut, name).value = value if name != "scale" else self._each_lane(value)
        self.dut.result_request__ready.value = self.dut.read__ready.value = 1
        Clock(self.dut.clk, 2, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(RESET_CYCLES):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def _each_lane(self, value: int) -> int:
        lanes = len(self.dut.scale) // 32
        return sum(value << 32 * lane for lane in range(lanes))

    async def tick(self, rows: str = "") -> None:
        """One cycle; row tiles that leave are kept as ``rows``."""
        dut = self.dut
        while self.arriving and self.arriving[0][0] == self.cycle:
            _, name, value = self.arriving.popleft()
            getattr(dut, name).value = value
        await FallingEdge(dut.clk)
        self.moved = {name: self._moves(name) for name in STREAMS}
        if self.moved["result_request"]:
            self.found["request"].append(int(dut.result_request__payload.value))
            self.arriving.append((self.cycle + self.stages, "visible", self.given["visible"].popleft()))
        if dut.result_valid.value == 1:
            self.found["result"].append(int(dut.result.value))
        if rows and dut.row_valid.value == 1:
            self.found[rows].append(int(dut.row.value))
        await RisingEdge(dut.clk)
        self.cycle += 1

    def _moves(self, name: str) -> bool:
        valid, ready = (getattr(self.dut, f"{name}__{side}").value for side in ("valid", "ready"))
        return bool(valid == 1 and ready == 1)

    async def results(self, entries: int) -> None:
        """An operation of the result side, until all that it changes can be read."""
        dut = self.dut
        dut.result_operation__payload.value = self.given["operations"].popleft()
        dut.result_operation__valid.value = dut.sums__valid.value = 1
        for _ in range(entries):
            dut.sums__payload.value = self.given["sums"].popleft()
            await self.tick()
            while not self.moved["sums"]:
                await self.tick()
        dut.result_operation__valid.value = dut.sums__valid.value = 0
        await self.wait()

    async def operands(self, tiles: Iterable[tuple[int, int]], rows: str = "") -> None:
        """An operation of the operand side on ``tiles`` and gammas, until all that it changes can be read."""
        dut = self.dut
        dut.operand_start.value = 1
        await self.tick()
        dut.operand_start.value = 0
        dut.operand_operation.value = self.given["operations"].popleft()
        for tile, gamma in tiles:
            dut.operand_request__payload.value, dut.operand_request__valid.value = self.given["requests"].popleft(), 1
            await self.tick(rows)
            while not self.moved["operand_request"]:
                await self.tick(rows)
            self.found["read"].append(int(dut.read_index.value) if rows else 0)
            at = self.cycle - 1 + self.stages
            self.arriving.extend([(at, "number", tile), (at, "gamma", gamma)])
            dut.operand_request__valid.value = 0
        await self.wait(rows)

    async def wait(self, rows: str = "") -> None:
        """Let everything leave."""
        for _ in range(self.rest):
            await self.tick(rows)

    async def row_block(self, mask: int, routed: int, scores: int, rounds: int, rows: int, tiles: int) -> None:
        """Route, take scores and their statistics, read them back; then statistics of row tiles, and their norm."""
        dut, first = self.dut, len(self.found["result"])
        dut.route.value = self.given["routes"].popleft()
        await self.results(routed)
        dut.operand_rows.value = self.given["routes"].popleft()
        dut.lists__0__gate.value, dut.lists__0__mask.value = int(Gate.ATTENTION), mask
        await self.tick()
        self.found["executed"].append(int(dut.lists__0__executed.value))
        if not rows:
            return
        await self.results(scores)
        await self.operands(self._scores(first, rounds, rows), "probabilities")
        x = [self.given["tiles"].popleft() for _ in range(tiles * rows)]
        gamma = [self.given["gamma"].popleft() for _ in range(tiles)]
        await self.operands([(each, 0) for each in x])
        await self.operands([(each, gamma[k // rows]) for k, each in enumerate(x)], "normalized")

    def _scores(self, first: int, rounds: int, rows: int) -> Iterator[tuple[int, int]]:
        """Words of scores in the order in which a product reads them: round, head, row; they left round, row, head."""
        left = self.found["result"][first:]
        for place in range(rounds * 2 * rows):
            head, row = divmod(place % (2 * rows), rows)
            yield left[place // (2 * rows) * 2 * rows + 2 * row + head] | self.padding, 0


@cocotb.test()
async def joined(dut: Any) -> None:
    """All row blocks."""
    bench = Bench(dut)
    await bench.start()
    for block in bench.blocks:
        await bench.row_block(*block)
    size = max(len(dut.row), len(dut.result), len(dut.result_request__payload)) // 8 + 1
    rows = {name: b"".join(value.to_bytes(size, "little") for value in found) for name, found in bench.found.items()}
    write_outputs(**{name: np.frombuffer(found, np.uint8).reshape(-1, size) for name, found in rows.items()})
