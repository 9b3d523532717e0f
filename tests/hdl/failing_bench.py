"""Benches that go wrong."""

from typing import Any

import cocotb


@cocotb.test()
async def differs(dut: Any) -> None:
    """What a bench does that finds a difference."""
    assert dut._name == "another", "cycle 7: total is 3, not 4"


@cocotb.test()
async def silent(dut: Any) -> None:
    """Passes, and leaves nothing behind."""
