"""cocotb bench of a block without handshakes: a word in and a word out a cycle."""

from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs

RESET_CYCLES = 2


@cocotb.test()
async def words(dut: Any) -> None:
    """One row of ``given`` a cycle; ``found`` in the same cycle."""
    given = [int.from_bytes(row.tobytes(), "little") for row in inputs()["given"]]
    size = (len(dut.found) + 7) // 8
    found = []
    dut.given.value = 0
    Clock(dut.clk, 2, unit="ns").start()
    dut.rst.value = 1
    for _ in range(RESET_CYCLES):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    for word in given:
        dut.given.value = word
        await FallingEdge(dut.clk)
        found.append(dut.found.value.to_unsigned().to_bytes(size, "little"))
        await RisingEdge(dut.clk)
    write_outputs(found=np.frombuffer(b"".join(found), np.uint8).reshape(-1, size))
