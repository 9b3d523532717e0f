"""cocotb bench of function units: new operands every cycle, and what stands at the outputs in that cycle."""

from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs


@cocotb.test()
async def functions(dut: Any) -> None:
    """One row of ``operands`` a cycle; units have no reset."""
    operands = [int.from_bytes(row.tobytes(), "little") for row in inputs()["operands"]]
    size = len(dut.results) // 8 + 1
    found = []
    dut.rst.value = 0
    Clock(dut.clk, 2, unit="ns").start()
    await RisingEdge(dut.clk)
    for word in operands:
        dut.operands.value = word
        await FallingEdge(dut.clk)
        found.append(int(dut.results.value).to_bytes(size, "little"))
        await RisingEdge(dut.clk)
    write_outputs(results=np.frombuffer(b"".join(found), np.uint8).reshape(-1, size))
