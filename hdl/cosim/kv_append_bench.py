"""cocotb bench of KV append: its neighbours as the model has drawn them, and a global buffer; notes all outputs."""

from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.dma_streams import words
from skipopu.hdl.cosim.kv_append_events import DRIVES, GRANTED, READY, ROW, WORKS

RESET_CYCLES = 2
FLAGS = ("read__valid", "write__valid", "mask_write", "mask_bit", "leave", "list_mask", "bit_mask")


class Bench:
    """All that is round the block."""

    def __init__(self, dut: Any) -> None:
        self.a = a = inputs()
        self.dut, self.drives, self.expected = dut, a["drives"].tolist(), a["expected"].tolist()
        names = a["flags_in"].tolist()
        self.inputs = [names.index(name) for name in DRIVES]
        outputs = a["flags_out"].tolist()
        self.outputs = [outputs.index(name) for name in FLAGS]
        self.begins = dict(zip(a["begins"].tolist(), range(len(a["begins"])), strict=True))
        self.heads, self.executed, self.bits = words(a["heads"]), a["executed"].tolist(), a["bits"].tolist()
        self.tiles, self.stages = words(a["tiles"]), int(a["read_stages"])
        self.reads: deque[tuple[int, int]] = deque()
        fields = zip(a["layout_offsets"].tolist(), a["layout_widths"].tolist(), strict=True)
        self.layout = dict(zip(a["layout_names"].tolist(), fields, strict=True))
        self.trace: list[list[int]] = []
        self.chunks: list[bytes] = []
        self.chunk_bytes, self.operation = int(a["chunk_bytes"]), -1

    async def start(self) -> None:
        """Reset; returns just after the edge that begins cycle 0."""
        self.dut.flags_in.value = 0
        Clock(self.dut.clk, 2, unit="ns").start()
        self.dut.rst.value = 1
        for _ in range(RESET_CYCLES):
            await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0

    def drive(self, cycle: int) -> None:
        """Put this cycle's inputs on the ports."""
        dut, drive = self.dut, self.drives[cycle]
        if cycle in self.begins:
            self.operation = self.begins[cycle]
            dut.head.value, dut.executed.value = self.heads[self.operation], self.executed[self.operation]
        dut.flags_in.value = sum((drive >> bit & 1) << flag for bit, flag in enumerate(self.inputs))
        row = self.expected[cycle][ROW]  # the one that is marked: a wrong one is seen in the trace
        dut.row_bits.value = self.bits[self.operation][row] if self.operation >= 0 else 0
        if self.reads and self.reads[0][0] == cycle:
            dut.read__data.value = self.tiles[self.reads.popleft()[1] % len(self.tiles)]

    def note(self, cycle: int) -> None:
        """See what the block says and asks."""
        dut, drive, flags = self.dut, self.drives[cycle], self.dut.flags_out.value.to_unsigned()
        read, write, mask, bit, leave, listed, marked = (flags >> flag & 1 for flag in self.outputs)
        found = [read, write, 0, 0, 0, 0, mask, 0, 0, 0, mask & bit, leave, dut.cause.value.to_unsigned(), 0, 0]
        if drive & WORKS:
            found[-2:] = dut.list_gate.value.to_unsigned() << 1 | listed, marked
        if read and drive & GRANTED:
            self.reads.append((cycle + self.stages, dut.read__address.value.to_unsigned()))
        if write:
            payload = dut.write__payload.value.to_unsigned()
            fields = {name: payload >> at & (1 << size) - 1 for name, (at, size) in self.layout.items()}
            found[2:4] = fields["port"], fields["last"]
            found[4:6] = (fields["address"], fields["chunks"]) if fields["last"] else (0, 0)
            if drive & READY:
                self.chunks.append(fields["data"].to_bytes(self.chunk_bytes, "little"))
        if mask:
            found[7:10] = (getattr(dut, name).value.to_unsigned() for name in ("bit_row", "mask_row", "mask_token"))
        self.trace.append(found)

    def finish(self) -> None:
        """Leave the notes."""
        chunks = np.frombuffer(b"".join(self.chunks), np.uint8).reshape(-1, self.chunk_bytes)
        write_outputs(trace=np.array(self.trace, np.int64), chunks=chunks)


@cocotb.test()
async def kv_append(dut: Any) -> None:
    """Run as many cycles as the simulator took, or up to the first that differs."""
    bench = Bench(dut)
    await bench.start()
    for cycle, expected in enumerate(bench.expected):
        bench.drive(cycle)
        await FallingEdge(dut.clk)
        bench.note(cycle)
        if bench.trace[cycle] != expected:
            break
        await RisingEdge(dut.clk)
    bench.finish()
