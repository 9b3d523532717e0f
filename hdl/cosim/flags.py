"""One-bit ports of a block in a `Shell` under cocotb, as the bits of one integer each way."""

from collections.abc import Sequence
from typing import Any

from cocotb.handle import Immediate


class Flags:
    """Names of the bits, the lowest first, and their levels."""

    def __init__(self, dut: Any, names_in: Sequence[str], names_out: Sequence[str]) -> None:
        self.names_in, self.names_out = names_in, names_out
        self._in, self._out, self._written = dut.flags_in, dut.flags_out, -1

    def read(self) -> int:
        """Return all outputs of the RTL."""
        return int(self._out.value.to_unsigned())

    def write(self, flags: int) -> None:
        """Set all inputs of the RTL, if one has changed."""
        if flags != self._written:
            self._in.set(Immediate(flags))
            self._written = flags
