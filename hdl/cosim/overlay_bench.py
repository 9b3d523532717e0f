"""cocotb bench of the whole overlay: HBM, DDR4 and a host round it; notes causes and the retire stream.

The host writes the registers and starts; the memories' clocks begin with the cycle in which the program runs. The run
ends when the program does, or when nothing has retired for ``patience`` cycles; then the host reads registers.
"""

from typing import Any

import cocotb
import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_bench import AxiBench
from skipopu.hdl.cosim.axi_memory_contents import contents, preload
from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.ddr_axi import ddr_ports
from skipopu.hdl.cosim.overlay_host import Host
from skipopu.hdl.cosim.overlay_memory import RegionWrites, ddr_memory
from skipopu.hdl.cosim.overlay_probes import COLUMNS, PROBES, WHERE

START_CYCLES = 1000  # for the host to write the registers, a register


class Routing:
    """Decisions of the routers, where the row list notes them."""

    def __init__(self, dut: Any) -> None:
        place = dut.block
        for name in WHERE:
            place = getattr(place, name)
        self._write, *self._columns = (getattr(place, name) for _, name in PROBES)
        self.noted: list[list[int]] = []

    def look(self) -> None:
        """Note a decision of this cycle."""
        if int(self._write.value):
            self.noted.append([column.value.to_unsigned() for column in self._columns])


class Bench(AxiBench):
    """The overlay with all that is round it."""

    def __init__(self, dut: Any) -> None:
        self.a = a = inputs()
        super().__init__(dut, a, int(a["beats"]), int(a["bursts"]), len(a["hbm_keys"]))
        preload(self.memory, a["hbm_keys"], a["hbm_beats"])
        self.ddr_memory = ddr_memory(a)
        self.ddr = ddr_ports(dut, self.ddr_memory, self.flags)
        self.logits = RegionWrites(self.ddr_memory, *a["logits"].tolist())
        self.host = Host(dut, "s_axi", self.flags)
        self.running_flag, self.retires = map(self.flags.names_out.index, ("running", "retire__valid"))
        self.takes = 1 << self.flags.names_in.index("retire__ready")
        self.cycles, self.quiet = 0, 0
        self.causes: list[int] = []
        self.retired: list[int] = []
        self.routing = Routing(dut)

    def running(self) -> bool:
        """Whether the program runs in the cycle that has begun."""
        return bool(self.flags.read() >> self.running_flag & 1)

    async def program(self) -> bool:
        """Let the host write the registers, the last of which starts; true once the program runs."""
        writes = self.a["writes"].tolist()
        self.host.write(writes)
        for _ in range(START_CYCLES * len(writes)):
            if self.running():
                return True
            await self.cycle_before_start()
        return False

    async def cycle_before_start(self) -> None:
        """One core cycle without memories."""
        for _ in range(self.ratio - 1):
            await self.clocks.settle()
            await self.clocks.edge()
        self.flags.write(self.host.drive() | self.takes)
        await self.clocks.settle()
        self.host.note(self.flags.read())
        await self.clocks.edge()

    async def run(self) -> None:
        """Until the program has ended or has long been silent."""
        patience = int(self.a["patience"])
        while self.quiet < patience and await self.run_cycle():
            pass

    async def run_cycle(self) -> bool:
        """One core cycle; whether the program runs on in the next."""
        await self.cycle(self.cycles)
        self.cycles += 1
        self.quiet += 1
        return self.running()

    async def collect(self) -> None:
        """Read the registers, with the memories going on."""
        self.host.read(self.a["reads"].tolist())
        while self.host.busy:
            await self.cycle(self.cycles)
            self.cycles += 1

    def drive(self, cycle: int) -> int:
        """DDR4 and the host; every retirement is taken."""
        return int(self.ddr.answers(cycle, self.flags.read())) | self.host.drive() | self.takes

    def note(self, cycle: int, flags: int) -> None:
        """Causes of a cycle in which the program runs, and what retires."""
        if flags >> self.running_flag & 1:
            self.causes.append(self.dut.causes.value.to_unsigned())
        if flags >> self.retires & 1:
            self.retired.append(self.dut.retire__payload.value.to_unsigned())
            self.quiet = 0
        self.routing.look()
        self.host.note(flags)
        self.logits.look()

    def finish(self) -> None:
        """Leave the notes."""
        keys, data = contents(self.memory)
        hbm, ddr = self.memory.total[0], self.ddr_memory.total[0]
        size = len(self.dut.retire__payload) // 8 + 1
        write_outputs(
            causes=np.array(self.causes, np.uint32), retired=table(self.retired, size),
            registers=np.array(self.host.data, np.uint64), refused=self.host.refused,
            hbm_keys=keys, hbm_beats=data, hbm_events=self.memory.events[: hbm.events],
            hbm_broken=[hbm.broken, hbm.broken_port, hbm.broken_tick], hbm_constants=self.axi.has_constants(),
            ddr_contents=self.ddr_memory.contents, ddr_events=self.ddr_memory.events[: ddr.events],
            ddr_broken=[ddr.broken, ddr.broken_channel, ddr.broken_cycle], ddr_constants=self.ddr.has_constants(),
            ratio=self.ratio, routed=np.array(self.routing.noted, np.int64).reshape(-1, len(COLUMNS)),
            **self.logits.arrays(),
        )  # fmt: skip


def table(values: list[int], size: int) -> NDArray[np.uint8]:
    """Integers as rows of bytes, the lowest first."""
    return np.frombuffer(b"".join(value.to_bytes(size, "little") for value in values), np.uint8).reshape(-1, size)


@cocotb.test()
async def overlay(dut: Any) -> None:
    """Program, run, read back."""
    bench = Bench(dut)
    await bench.start()
    if await bench.program():
        await bench.run()
        await bench.collect()
    bench.finish()
