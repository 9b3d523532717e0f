"""The part of a bench that all blocks with AXI ports share: both clocks, the flags, a memory behind the ports."""

from abc import ABC, abstractmethod
from typing import Any

from skipopu.hdl.cosim.axi_memory_state import new_axi_memory, stall_names
from skipopu.hdl.cosim.axi_ports import AxiPorts
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.clocks import Clocks, reset
from skipopu.hdl.cosim.flags import Flags
from skipopu.spec.board import Board

RESET_CYCLES = 8


class AxiBench(ABC):
    """A block in its `Shell`, stepped a core cycle at a time; who inherits says what is driven and what is noted.

    ``a`` : what the bench is given. ``beats``, ``bursts``, ``image`` : as `new_axi_memory` takes them.
    """

    def __init__(self, dut: Any, a: Arrays, beats: int, bursts: int, image: int = 0) -> None:
        self.dut, self.ratio, ports = dut, int(a["ratio"]), int(a["ports"])
        self.clocks = Clocks(dut, self.ratio)
        self.flags = Flags(dut, a["flags_in"].tolist(), a["flags_out"].tolist())
        stalls = {name: a[f"stall_{name}"] for name in stall_names(ports)}
        self.memory = new_axi_memory(Board.load(str(a["board"])), ports, stalls, beats, bursts, image)
        self.axi = AxiPorts(dut, self.memory, self.flags)

    async def start(self) -> None:
        """Reset; returns just after the edge that begins cycle 0 and tick 0."""
        self.flags.write(0)
        await reset(self.dut, self.clocks, RESET_CYCLES * self.ratio)

    async def cycle(self, cycle: int) -> None:
        """One core cycle; the core's inputs are put on in its last tick."""
        first, last = cycle * self.ratio, (cycle + 1) * self.ratio - 1
        for tick in range(first, last):
            self.axi.tick(tick)
            await self.clocks.settle()
            await self.clocks.edge()
        self.flags.write(self.axi.answers(last, self.flags.read()) | self.drive(cycle))
        await self.clocks.settle()
        self.note(cycle, self.flags.read())
        await self.clocks.edge()

    @abstractmethod
    def drive(self, cycle: int) -> int:
        """Put this cycle's payloads on the core's ports; return the flags."""

    @abstractmethod
    def note(self, cycle: int, flags: int) -> None:
        """See what moves in this cycle."""
