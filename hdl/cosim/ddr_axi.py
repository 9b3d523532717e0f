"""DDR4 ports of the RTL under cocotb, answered by the DDR4 memory once a core cycle."""

from typing import Any

from skipopu.hdl.cosim.axi_ports import AxiPorts
from skipopu.hdl.cosim.ddr_memory import serve_ddr
from skipopu.hdl.cosim.ddr_memory_state import DdrMemory
from skipopu.hdl.cosim.flags import Flags
from skipopu.spec.overlay import DDR_BEAT_BYTES

PREFIX = "ddr"
SIZE = (DDR_BEAT_BYTES - 1).bit_length()
CONSTANTS = {"arburst": 1, "arsize": SIZE, "awburst": 1, "awsize": SIZE, "wstrb": (1 << DDR_BEAT_BYTES) - 1}


def ddr_ports(dut: Any, memory: DdrMemory, flags: Flags) -> AxiPorts:
    """Return the ports ``ddr__<channel>__`` of a block in a `Shell`.

    In every core cycle, just after its first edge: ``flags.write(ports.answers(cycle, flags.read()) | …)``.
    """
    return AxiPorts(dut, memory, flags, PREFIX, CONSTANTS, serve_ddr)
