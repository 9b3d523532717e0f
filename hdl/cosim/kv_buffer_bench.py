"""cocotb bench of the memory system: both clocks, the AXI memory, K/V operations; notes every event and every chunk."""

from typing import Any

import cocotb
import numpy as np
from cocotb.handle import Immediate

from skipopu.hdl.cosim.axi_bench import AxiBench
from skipopu.hdl.cosim.bench import Arrays, inputs, write_outputs
from skipopu.hdl.cosim.dma_streams import words
from skipopu.hdl.cosim.flags import Flags
from skipopu.hdl.cosim.kv_buffer_events import ANNOUNCED, ANNOUNCED_END, ANNOUNCEMENT, DONE, DRIVES, OPERATION, OUTPUT

BURSTS = 1 << 12  # between two looks at the memory's log


class Work:
    """Sequence after sequence: write its bits, then offer its operations; the next one when all are done."""

    def __init__(self, dut: Any, flags: Flags, a: Arrays) -> None:
        self.dut = dut
        self.payloads, self.writes = words(a["operations"]), a["writes"].tolist()
        self.sequences = iter(zip(a["sequences"].tolist(), words(a["settings"]), strict=True))
        self.last_write = self.last_operation = self.written = self.taken = self.done = 0
        self.offered = False
        self.write, self.bit = map(flags.names_in.index, ("mask_write", "mask_bit"))
        self.ready, self.over = map(flags.names_out.index, ("kv_operation__ready", "kv_done"))

    def drive(self, offers: int) -> int:
        """This cycle's bit or operation, if it ``offers`` one; return the flags of the bit."""
        if self.done == self.last_operation:
            self._next_sequence()
        if self.written < self.last_write:
            return self._write(*self.writes[self.written])
        if offers and not self.offered:
            self.dut.kv_operation__payload.set(Immediate(self.payloads[self.taken]))
        self.offered = bool(offers)
        return 0

    def _next_sequence(self) -> None:
        """Bits and operations that will be over with this one."""
        ends, settings = next(self.sequences, (None, 0))
        if ends is not None:
            self.last_write, self.last_operation = ends
            self.dut.kv_settings.set(Immediate(settings))

    def _write(self, row: int, token: int, executed: int) -> int:
        self.dut.mask_row.set(Immediate(row))
        self.dut.mask_token.set(Immediate(token))
        self.written += 1
        return 1 << self.write | executed << self.bit

    def note(self, flags: int) -> int:
        """What moved."""
        found = 0
        if self.offered and flags >> self.ready & 1:
            self.taken, self.offered, found = self.taken + 1, False, OPERATION
        if flags >> self.over & 1:
            self.done, found = self.done + 1, found | DONE
        return found


class Bench(AxiBench):
    """The memory system with all that is round it."""

    def __init__(self, dut: Any) -> None:
        a = inputs()
        super().__init__(dut, a, 0, BURSTS)
        self.work = Work(dut, self.flags, a)
        self.drives, self.drive_flags = a["drives"].tolist(), [self.flags.names_in.index(name) for name in DRIVES]
        self.valid, self.error = map(self.flags.names_out.index, ("kv_output__valid", "error"))
        self.announced, self.end = map(self.flags.names_out.index, ("kv_announce__valid", "kv_announce__payload"))
        self.expected, self.bursts = a["expected"].tolist(), [self.memory.events[:0]]
        self.trace: list[tuple[int, int]] = []
        self.outputs: list[bytes] = []
        self.output_bytes = len(dut.kv_output__payload) // 8 + 1

    def drive(self, cycle: int) -> int:
        """Offer work, take the output and announcements or not."""
        drive = self.drives[cycle]
        flags: int = sum((drive >> bit & 1) << flag for bit, flag in enumerate(self.drive_flags))
        return self.work.drive(drive & 1) | flags

    def note(self, cycle: int, flags: int) -> None:
        """See what moves in this cycle, and what leaves."""
        found = self.work.note(flags) | self._announcement(cycle, flags)
        if self.drives[cycle] >> 1 & 1 and flags >> self.valid & 1:
            found |= OUTPUT
            payload = self.dut.kv_output__payload.value.to_unsigned()
            self.outputs.append(payload.to_bytes(self.output_bytes, "little"))
        self.trace.append((found, self.dut.kv_cause.value.to_unsigned()))
        if self.memory.total[0].events >= BURSTS:
            self.log()

    def _announcement(self, cycle: int, flags: int) -> int:
        if not flags >> self.announced & 1:
            return 0
        if not self.drives[cycle] >> 2 & 1:
            return ANNOUNCED
        return ANNOUNCED | ANNOUNCEMENT | (ANNOUNCED_END if flags >> self.end & 1 else 0)

    def log(self) -> None:
        """Take over the memory's log."""
        self.bursts.append(self.memory.events[: self.memory.total[0].events].copy())
        self.memory.total[0].events = 0

    def finish(self) -> None:
        """Leave the notes."""
        self.log()
        t, error = self.memory.total[0], self.flags.read() >> self.error & 1
        outputs = np.frombuffer(b"".join(self.outputs), np.uint8).reshape(-1, self.output_bytes)
        write_outputs(
            trace=np.array(self.trace, np.uint8), bursts=np.concatenate(self.bursts), outputs=outputs, error=error,
            constants=self.axi.has_constants(),
            broken=[t.broken, t.broken_port, t.broken_tick],
        )  # fmt: skip


@cocotb.test()
async def kv_buffer(dut: Any) -> None:
    """Run as many cycles as the simulator took, or up to the first that differs."""
    bench = Bench(dut)
    await bench.start()
    for cycle, expected in enumerate(bench.expected):
        await bench.cycle(cycle)
        if bench.trace[cycle] != tuple(expected):
            break
    bench.finish()
