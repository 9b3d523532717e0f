"""Bench of Trio: feeds one word a cycle to each stream and notes the totals."""

from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from skipopu.hdl.cosim.bench import inputs, write_outputs


@cocotb.test()
async def totals(dut: Any) -> None:
    """The total in a cycle is that of the words before it."""
    words, valid = inputs()["words"], inputs()["valid"]
    Clock(dut.clk, 10, unit="step").start()
    await reset(dut)
    found = []
    for word, now in zip(words, valid, strict=True):
        for k in range(3):
            getattr(dut, f"words__{k}__payload").value = int(word[k]) & 0xFF
            getattr(dut, f"words__{k}__valid").value = int(now[k])
        await RisingEdge(dut.clk)
        found.append((dut.total.value.to_signed(), int(dut.last.value)))
    write_outputs(total=[total for total, _ in found], last=[last for _, last in found])


async def reset(dut: Any) -> None:
    """Two cycles of reset; a tag whose exponent is 3."""
    dut.rst.value, dut.tag.value = 1, 3 << 10 | 5
    for k in range(3):
        getattr(dut, f"words__{k}__valid").value = 0
        getattr(dut, f"words__{k}__payload").value = 0
    await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    dut.rst.value = 0
