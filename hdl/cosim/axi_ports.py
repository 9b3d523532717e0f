"""AXI ports of the RTL under cocotb, answered by the AXI memory."""

from collections.abc import Callable, Mapping
from typing import Any

from cocotb.handle import Immediate

from skipopu.hdl.cosim.axi_memory import serve
from skipopu.hdl.cosim.axi_memory_state import ANSWERS, AR, AW
from skipopu.hdl.cosim.clocks import LEVELS
from skipopu.hdl.cosim.flags import Flags
from skipopu.spec.overlay import HBM_BEAT_BYTES

CONSTANTS = {
    "arburst": 1, "arsize": 5, "awburst": 1, "awsize": 5, "wstrb": (1 << HBM_BEAT_BYTES) - 1,
}  # fmt: skip
READY = ("rready", "bready")
R_VALID = 1 << ANSWERS.index("rvalid")
FLAGS = ("arvalid", "awvalid", "wvalid", "wlast")
WORD = (1 << 64) - 1


class AxiPort:
    """One port: what the RTL puts out goes to the memory's record, the answers come back."""

    def __init__(
        self, dut: Any, number: int, memory: Any, flags: Flags, prefix: str, constants: Mapping[str, int]
    ) -> None:
        name = f"{prefix}__{number}__"
        self._constants = constants
        self._number, self._dut, self._name = number, dut, name
        self._ar, self._aw, self._w, self._last = (flags.names_out.index(name + flag) for flag in FLAGS)
        self._ready = [flags.names_out.index(name + flag) for flag in READY]
        self._place = flags.names_in.index(name + ANSWERS[0])
        if list(flags.names_in[self._place : self._place + len(ANSWERS)]) != [name + answer for answer in ANSWERS]:
            raise ValueError(f"the flags of {name} are not {ANSWERS} in this order")
        self._requests = [[self._pin(channel + part) for part in ("addr", "len", "id")] for channel in ("ar", "aw")]
        self._w_data, self._r_data, self._r_id = (self._pin(pin) for pin in ("wdata", "rdata", "rid"))
        ports = memory.ports
        self._valid, self._address, self._beats, self._id, self._sent, self._read = (
            ports[field][number] for field in ("valid", "address", "beats", "ID", "w_data", "r_data")
        )
        self._w_valid, self._w_last, self._answers, self._read_id = (
            ports[field] for field in ("w_valid", "w_last", "answers", "r_ID")
        )
        self._last_id = -1
        for pin in ("rresp", "bresp", "bid"):
            self._pin(pin).set(LEVELS[0])

    def _pin(self, name: str) -> Any:
        return getattr(self._dut, self._name + name)

    def look(self, flags: int) -> None:
        """See what the RTL has put on AR, AW and W in this tick."""
        for channel, place in ((AR, self._ar), (AW, self._aw)):
            self._valid[channel] = valid = flags >> place & 1
            if valid:
                address, length, identifier = self._requests[channel]
                self._address[channel] = address.value.to_unsigned()
                self._beats[channel] = length.value.to_unsigned() + 1
                self._id[channel] = identifier.value.to_unsigned()
        self._w_valid[self._number] = valid = flags >> self._w & 1
        if valid:
            self._w_last[self._number] = flags >> self._last & 1
            data = self._w_data.value.to_unsigned()
            self._sent[:] = [data >> 64 * place & WORD for place in range(len(self._sent))]

    def answer(self) -> int:
        """Put the memory's data on the RTL's inputs; return its flags, in their places."""
        answers = int(self._answers[self._number])
        if answers & R_VALID:
            self._r_data.set(Immediate(int.from_bytes(self._read.tobytes(), "little")))
            identifier = int(self._read_id[self._number])
            if identifier != self._last_id:
                self._r_id.set(Immediate(identifier))
                self._last_id = identifier
        return answers << self._place

    def has_constants(self, flags: int) -> bool:
        """Outputs that never change are what they must be."""
        ready = all(flags >> place & 1 for place in self._ready)
        return ready and all(int(self._pin(name).value) == value for name, value in self._constants.items())


class AxiPorts:
    """All ports ``<prefix>__<number>__`` of a block, answered by ``serve``: those of the HBM, if nothing else is said.

    ``memory`` : an `AxiMemory`, or one that has the same fields for what stands at its ports.
    """

    def __init__(
        self, dut: Any, memory: Any, flags: Flags, prefix: str = "hbm", constants: Mapping[str, int] = CONSTANTS,
        serve: Callable[[Any, int], None] = serve,
    ) -> None:  # fmt: skip
        self._memory, self._flags, self._serve = memory, flags, serve
        self._ports = [
            AxiPort(dut, number, memory, flags, prefix, constants) for number in range(len(memory.ports))
        ]  # fmt: skip

    def tick(self, now: int) -> None:
        """Let the memory have its tick ``now``, after the edge that begins it, and set what answers."""
        self._flags.write(self.answers(now, self._flags.read()))

    def answers(self, now: int, flags: int) -> int:
        """Let the memory have its tick ``now``; return the flags that answer, and set only the other ports."""
        for port in self._ports:
            port.look(flags)
        self._serve(self._memory, now)
        found = 0
        for port in self._ports:
            found |= port.answer()
        return found

    def has_constants(self) -> bool:
        """Outputs that never change are what they must be, on all ports."""
        flags = self._flags.read()
        return all(port.has_constants(flags) for port in self._ports)
