"""cocotb bench of Control: a host that writes and reads registers while the machine shows this and that."""

from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs

RESET_CYCLES = 2
WRITES = ("s_axi_awvalid", "s_axi_wvalid", "s_axi_bready")
READS = ("s_axi_arvalid", "s_axi_rready")
HELD = ("start", "program_address", "program_count", "settings", "interrupt")


class Host:
    """One access at a time, its channels at their own pace."""

    def __init__(self, dut: Any, a: dict[str, Any]) -> None:
        self.dut, self.accesses, self.cycle = dut, a["accesses"].tolist(), 0
        self.rng = np.random.default_rng(int(a["seed"]))
        self.shown = [int.from_bytes(row.tobytes(), "little") for row in a["shown"]]
        self.held: list[list[int]] = []
        self.answers: list[tuple[int, int, int]] = []

    async def tick(self) -> None:
        """One cycle of the machine."""
        self.dut.shown.value = self.shown[self.cycle % len(self.shown)]
        await FallingEdge(self.dut.clk)
        self.held.append([int(getattr(self.dut, name).value) for name in HELD])

    async def edge(self) -> None:
        """The end of the cycle."""
        await RisingEdge(self.dut.clk)
        self.cycle += 1

    async def access(self, write: int, address: int, data: int, strobe: int) -> None:
        """Offer all channels at random times; note the cycle in which the request is taken, and the answer."""
        dut, channels = self.dut, WRITES if write else READS
        dut.s_axi_awaddr.value = dut.s_axi_araddr.value = address
        dut.s_axi_wdata.value, dut.s_axi_wstrb.value = data, strobe
        offered, left, taken = dict.fromkeys(channels, False), set(channels), -1
        while left:
            for name in left:
                offered[name] = offered[name] or bool(self.rng.random() < 0.5)
            for name in channels:
                getattr(dut, name).value = int(name in left and offered[name])
            await self.tick()
            moved = {name for name in left if offered[name] and self._other_side(name)}
            if moved & {"s_axi_awvalid", "s_axi_arvalid"}:
                taken = self.cycle
            if moved & {"s_axi_bready", "s_axi_rready"}:
                answer = (dut.s_axi_bresp if write else dut.s_axi_rresp).value, dut.s_axi_rdata.value
                self.answers.append((taken, int(answer[0]), 0 if write else int(answer[1])))
            left -= moved
            await self.edge()
        for name in channels:
            getattr(dut, name).value = 0

    def _other_side(self, name: str) -> bool:
        other = name.replace("valid", "ready") if name.endswith("valid") else name.replace("ready", "valid")
        return bool(getattr(self.dut, other).value == 1)


@cocotb.test()
async def control(dut: Any) -> None:
    """All accesses."""
    for name in (*WRITES, *READS, "s_axi_awprot", "s_axi_arprot", "shown"):
        getattr(dut, name).value = 0
    host = Host(dut, inputs())
    Clock(dut.clk, 2, unit="ns").start()
    dut.rst.value = 1
    for _ in range(RESET_CYCLES):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    for access in host.accesses:
        await host.access(*access)
    size = max(value.bit_length() for row in host.held for value in row) // 8 + 1
    held = b"".join(value.to_bytes(size, "little") for row in host.held for value in row)
    write_outputs(
        answers=np.array(host.answers, np.int64),
        held=np.frombuffer(held, np.uint8).reshape(len(host.held), len(HELD), size),
    )  # fmt: skip
