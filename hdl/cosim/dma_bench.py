"""cocotb bench of the DMA: both clocks, the AXI memory, every stream with its stalls; notes every event and word."""

from typing import Any

import cocotb
import numpy as np

from skipopu.hdl.cosim.axi_bench import AxiBench
from skipopu.hdl.cosim.axi_memory_contents import contents
from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.dma_streams import KvPort, Offers, words
from skipopu.hdl.cosim.dma_trace import (
    DONE,
    ERROR,
    EVENTS,
    OPERATION,
    PENDING,
    PORT_EVENTS,
    WEIGHTS,
    WEIGHTS_VALID,
    WRITE,
)
from skipopu.hdl.cosim.stalls import Source

NOTED = ((DONE, "done"), (PENDING, "writes_pending"), (ERROR, "error"))


class Bench(AxiBench):
    """Sources and sinks round the block."""

    def __init__(self, dut: Any) -> None:
        self.a = a = inputs()
        super().__init__(dut, a, int(a["beats"]), int(a["bursts"]))
        ports = int(a["ports"])
        self.kv = [KvPort(dut, number, self.flags, a) for number in range(ports)]
        self.sources = [
            (place, Offers(dut, name, Source(words(a[f"{name}s"]), a[f"stall_{name}"]), self.flags))
            for place, name in ((OPERATION, "operation"), (WRITE, "write"))
        ]
        names_in, names_out = self.flags.names_in, self.flags.names_out
        self.may_pop, self.pop = a["stall_weights"].tolist(), names_in.index("weights__ready")
        self.weights_valid = names_out.index("weights__valid")
        self.notes = [(place, names_out.index(name)) for place, name in NOTED]
        self.trace = np.zeros(int(a["cycles"]), np.int64)
        self.words: list[int] = []

    def drive(self, cycle: int) -> int:
        """Put this cycle's payloads on the core's ports; return the flags."""
        flags = self.may_pop[cycle % len(self.may_pop)] << self.pop
        for _, source in self.sources:
            flags |= source.drive(cycle)
        for port in self.kv:
            flags |= port.drive(cycle)
        return int(flags)

    def note(self, cycle: int, flags: int) -> None:
        """See what moves in this cycle."""
        found = 0
        for place, source in self.sources:
            found |= source.note(flags) << place
        for place, flag in self.notes:
            found |= (flags >> flag & 1) << place
        if flags >> self.weights_valid & 1:
            found |= 1 << WEIGHTS_VALID
            if self.may_pop[cycle % len(self.may_pop)]:
                found |= 1 << WEIGHTS
                self.words.append(self.dut.weights__payload.value.to_unsigned())
        for number, port in enumerate(self.kv):
            found |= port.note(cycle, flags) << len(EVENTS) + number * len(PORT_EVENTS)
        self.trace[cycle] = found

    def finish(self) -> None:
        """Leave the notes."""
        keys, data = contents(self.memory)
        t, chunk = self.memory.total[0], int(self.a["chunk_bytes"])
        chunks = {f"chunks_{number}": table(port.words, chunk) for number, port in enumerate(self.kv)}
        write_outputs(
            trace=self.trace, events=self.memory.events[: t.events], broken=[t.broken, t.broken_port, t.broken_tick],
            words=table(self.words, chunk * len(self.kv)), keys=keys, contents=data,
            constants=self.axi.has_constants(), **chunks,
        )  # fmt: skip


def table(values: list[int], size: int) -> Any:
    """Integers as rows of 64-bit words, the lowest first."""
    return np.frombuffer(b"".join(value.to_bytes(size, "little") for value in values), np.uint64).reshape(-1, size // 8)


@cocotb.test()
async def dma(dut: Any) -> None:
    """Run as many cycles as the simulator took."""
    bench = Bench(dut)
    await bench.start()
    for cycle in range(len(bench.trace)):
        await bench.cycle(cycle)
    bench.finish()
