"""The host under cocotb: AXI4-Lite reads and writes of 32 bits, one after another."""

from collections.abc import Generator, Iterable
from typing import Any

from cocotb.handle import Immediate

from skipopu.hdl.cosim.flags import Flags

OKAY = 0
WHOLE = 0b1111  # WSTRB
IN = ("awvalid", "wvalid", "bready", "arvalid", "rready")
OUT = ("awready", "wready", "bvalid", "arready", "rvalid")

Transaction = Generator[int, int, None]  # yields the flags that it drives, is sent those of the overlay


class Host:
    """Master of the AXI4-Lite port whose pins begin with ``name``; a transaction that waits drives nothing else."""

    def __init__(self, dut: Any, name: str, flags: Flags) -> None:
        self._dut, self._name = dut, name
        self._awvalid, self._wvalid, self._bready, self._arvalid, self._rready = (
            1 << flags.names_in.index(f"{name}_{pin}") for pin in IN
        )
        self._awready, self._wready, self._bvalid, self._arready, self._rvalid = (
            flags.names_out.index(f"{name}_{pin}") for pin in OUT
        )
        self._work: list[Transaction] = []
        self._driven = 0
        self.data: list[int] = []  # of all reads, in order
        self.refused = 0  # responses that were not OKAY
        self._pin("wstrb").set(Immediate(WHOLE))

    def _pin(self, name: str) -> Any:
        return getattr(self._dut, f"{self._name}_{name}")

    @property
    def busy(self) -> bool:
        """Whether a transaction is under way or waits."""
        return bool(self._work)

    def write(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Write each (byte address, value)."""
        self._work += [self._write(address, value) for address, value in pairs]

    def read(self, addresses: Iterable[int]) -> None:
        """Read each; the values come to ``data``."""
        self._work += [self._read(address) for address in addresses]

    def drive(self) -> int:
        """Return this cycle's flags, after the core's edge."""
        if self._work and not self._driven:
            self._driven = next(self._work[0])
        return self._driven

    def note(self, flags: int) -> None:
        """See what the overlay answers in this cycle."""
        if not self._driven:
            return
        try:
            self._driven = self._work[0].send(flags)
        except StopIteration:
            self._work.pop(0)
            self._driven = 0

    def _write(self, address: int, value: int) -> Transaction:
        self._pin("awaddr").set(Immediate(address))
        self._pin("wdata").set(Immediate(value))
        asking = self._awvalid | self._wvalid
        while asking:
            flags = yield asking
            asking &= ~(self._awvalid * (flags >> self._awready & 1) | self._wvalid * (flags >> self._wready & 1))
        while not (yield self._bready) >> self._bvalid & 1:
            pass
        self._check("bresp")

    def _read(self, address: int) -> Transaction:
        self._pin("araddr").set(Immediate(address))
        while not (yield self._arvalid) >> self._arready & 1:
            pass
        while not (yield self._rready) >> self._rvalid & 1:
            pass
        self.data.append(self._pin("rdata").value.to_unsigned())
        self._check("rresp")

    def _check(self, response: str) -> None:
        self.refused += self._pin(response).value.to_unsigned() != OKAY
