"""cocotb bench of the constants: one half is written while a stream of router weights is read from the other."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import Immediate
from cocotb.triggers import Timer

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.flags import Flags

RESET_CYCLES = 4
LOW, HIGH = Immediate(0), Immediate(1)


class Bench:
    """Stepped a cycle at a time."""

    def __init__(self, dut: Any) -> None:
        self.dut, self.a, self.step = dut, inputs(), Timer(1, unit="ns")
        a = self.a
        self.flags = Flags(dut, a["flags_in"].tolist(), a["flags_out"].tolist())
        self.readers, self.stages = a["readers"].tolist(), int(a["read_stages"])
        self.reads, self.writes, self.starts = (a[name].tolist() for name in ("reads", "writes", "starts"))
        self.data = [int.from_bytes(row.tobytes(), "little") for row in a["data"]]
        self.may, self.wishes = a["stall_take"].tolist(), a["stall_start"].tolist()
        self.next, self.left, self.half = 0, 0, 0
        self.back: deque[int] = deque()
        self.found: dict[str, list[int]] = {name: [] for name in self.readers}
        self.words: list[int] = []
        # [cycle]: half written, or −1; number of the stream that starts, or −1; its output is valid, is taken
        self.trace: list[tuple[int, int, int, int]] = []

    async def cycle(self, cycle: int) -> None:
        """Drive, look, end the cycle."""
        flags, start = self._drive(cycle)
        self.flags.write(flags)
        self.dut.clk.set(LOW)
        await self.step
        self._note(cycle, start)
        self.dut.clk.set(HIGH)
        await self.step

    def bit(self, name: str, value: int) -> int:
        """A flag in its place."""
        return value << self.flags.names_in.index(name)

    def _drive(self, cycle: int) -> tuple[int, bool]:
        take = self.may[cycle % len(self.may)]
        flags = self.bit("router_weights__ready", take)
        for name, (half, address) in zip(self.readers, self.reads[cycle], strict=True):
            getattr(self.dut, f"{name}__address").set(Immediate(address))
            flags |= self.bit(f"{name}__half", half)
        start = not self.left and self.next < len(self.starts) and bool(self.wishes[cycle % len(self.wishes)])
        if start:
            word, self.half, self.left = self.starts[self.next]
            self.dut.router_start.set(Immediate(word))
            flags |= self.bit("router_start_valid", 1)
        if self.writes[cycle] >= 0:
            self.dut.write__address.set(Immediate(self.writes[cycle]))
            self.dut.write__data.set(Immediate(self.data[cycle]))
            flags |= self.bit("write__valid", 1) | self.bit("write__half", 1 - self.half)
        return flags, start

    def _note(self, cycle: int, start: bool) -> None:
        valid = int(self.dut.flags_out.value)  # the only one-bit output
        taken = valid & self.may[cycle % len(self.may)]
        if taken:
            self.words.append(int(self.dut.router_weights__payload.value))
        self.trace.append((1 - self.half if self.writes[cycle] >= 0 else -1, self.next if start else -1, valid, taken))
        self.next += start
        self.left -= taken
        if cycle >= self.stages:
            for name in self.readers:
                self.found[name].append(int(getattr(self.dut, f"{name}__data").value))

    def finish(self) -> None:
        """Leave the notes."""
        wide = {name: table(values, len(getattr(self.dut, f"{name}__data"))) for name, values in self.found.items()}
        words = table(self.words, len(self.dut.router_weights__payload))
        write_outputs(trace=np.array(self.trace, np.int64), words=words, **wide)


def table(values: list[int], bits: int) -> Any:
    """Integers as rows of bytes, the lowest first."""
    data = b"".join(value.to_bytes(bits // 8, "little") for value in values)
    return np.frombuffer(data, np.uint8).reshape(-1, bits // 8)


@cocotb.test()
async def constants(dut: Any) -> None:
    """Reset, then all cycles."""
    bench = Bench(dut)
    bench.flags.write(0)
    for level in (HIGH, LOW):
        dut.rst.set(level)
        for _ in range(RESET_CYCLES if level is HIGH else 0):
            dut.clk.set(LOW)
            await bench.step
            dut.clk.set(HIGH)
            await bench.step
    for cycle in range(len(bench.writes)):
        await bench.cycle(cycle)
    bench.finish()
