"""One-bit ports under cocotb as the bits of one integer each way, be they gathered in a `Shell` or pins."""

from collections.abc import Sequence
from typing import Any, Protocol

from cocotb.handle import Immediate

from skipopu.hdl.cosim.clocks import LEVELS


class Flags(Protocol):
    """Names of the bits, the lowest first, and their levels."""

    names_in: Sequence[str]
    names_out: Sequence[str]

    def read(self) -> int:
        """Return all outputs of the RTL."""

    def write(self, flags: int) -> None:
        """Set all inputs of the RTL, where they have changed."""


class ShellFlags:
    """The flags of a block in a `Shell`."""

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


class PinFlags:
    """Ports of their own; each costs a call into the simulator."""

    def __init__(self, dut: Any, names_in: Sequence[str], names_out: Sequence[str]) -> None:
        self.names_in, self.names_out = names_in, names_out
        self._in, self._out = ([getattr(dut, name) for name in names] for names in (names_in, names_out))
        self._written: int | None = None

    def read(self) -> int:
        """Return all outputs of the RTL."""
        return sum((pin.value == 1) << place for place, pin in enumerate(self._out))

    def write(self, flags: int) -> None:
        """Set the inputs of the RTL that have changed."""
        changed = -1 if self._written is None else flags ^ self._written
        for place, pin in enumerate(self._in if changed else ()):
            if changed >> place & 1:
                pin.set(LEVELS[flags >> place & 1])
        self._written = flags
