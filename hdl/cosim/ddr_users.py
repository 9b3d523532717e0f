"""Who stands round the DDR4 engines under cocotb: their queues, and the other users of the global buffer."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from cocotb.handle import Immediate

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.ddr_events import APPEND, OPERAND, RESIDUAL, RESULT, WRITE_BACK
from skipopu.hdl.cosim.flags import Flags

READS = (("append", ("address",), ("data",), APPEND), ("residual", ("address",), ("data",), RESIDUAL),
         ("operand", ("address_a", "address_b"), ("data_a", "data_b"), OPERAND))  # fmt: skip
WRITES = (("result", RESULT), ("write_back", WRITE_BACK))


class Engine:
    """The queue of an engine: the next instruction comes when the one before has left, and begins after its gap."""

    def __init__(self, dut: Any, name: str, flags: Flags, a: Arrays) -> None:
        self.dut, self.name = dut, name
        self.bits = {each: 1 << flags.names_in.index(f"{name}_{each}") for each in ("begins", "running", "blocked")}
        self.words = [int.from_bytes(row.tobytes(), "little") for row in a[f"{name}_words"]]
        self.given = a[f"{name}_given"].tolist()  # executed, rounds, gap, blocked
        self.next, self.free, self.shown = 0, 0, -1

    @property
    def done(self) -> bool:
        """All instructions have left."""
        return self.next == len(self.words)

    def drive(self, cycle: int) -> int:
        """Put the head there; return the flags."""
        if self.done:
            return 0
        executed, rounds, gap, blocked = self.given[self.next]
        if self.next != self.shown:
            for port, value in (("head", self.words[self.next]), ("executed", executed), ("rounds", rounds)):
                getattr(self.dut, f"{self.name}_{port}").set(Immediate(value))
            self.shown = self.next
        due = self.free + gap
        if cycle < due:
            return self.bits["blocked"] if blocked else 0
        return self.bits["begins"] if cycle == due else self.bits["running"]

    def note(self, cycle: int, leaves: int) -> None:
        """The head has left."""
        if leaves:
            self.next += 1
            self.free = cycle + 1


class Users:
    """Readers and writers of the global buffer, and what the readers found."""

    def __init__(self, dut: Any, flags: Flags, a: Arrays) -> None:
        self.dut, self.stages = dut, int(a["read_stages"])
        self.in_, self.out = flags.names_in, flags.names_out
        self.wants = {name: a[f"stall_{name}"].tolist() for name in ("append", "residual", "operand", "packed")}
        self.wishes = {name: a[f"stall_{name}"].tolist() for name, _ in WRITES}
        self.latency = {name: int(a[f"{name}_latency"]) for name, _ in WRITES}
        self.addresses, self.mask = a["addresses"].tolist(), a["mask"].tolist()
        self.data = [[int.from_bytes(each.tobytes(), "little") for each in pair] for pair in a["data"]]
        self.due: dict[str, deque[int]] = {name: deque() for name, _ in WRITES}  # cycles in which they reserved
        self.back: dict[str, deque[int]] = {name: deque() for name, *_ in READS}  # cycles of reads
        self.reads: dict[str, list[int]] = {data: [] for name, _, datas, _ in READS for data in named(name, datas)}

    def drive(self, cycle: int) -> int:
        """Ask, and write what was reserved."""
        flags, column = 0, 0
        at = self.addresses[cycle % len(self.addresses)]
        for name, ports, _, _ in READS:
            wanted = self.wants[name][cycle % len(self.wants[name])]
            for port in ports:
                if wanted:
                    getattr(self.dut, f"{name}__{port}").set(Immediate(at[column]))
                column += 1
            flags |= wanted << self.in_.index(f"{name}__valid")
        flags |= self._packed(cycle) << self.in_.index("operand__packed")
        for number, (name, _) in enumerate(WRITES):
            flags |= self.wishes[name][cycle % len(self.wishes[name])] << self.in_.index(f"want_{name}")
            if self.due[name] and self.due[name][0] + self.latency[name] == cycle:
                self._write(name, number, self.due[name].popleft())
                flags |= 1 << self.in_.index(f"{name}__valid")
        return int(flags)

    def _packed(self, cycle: int) -> int:
        """Operands want two tiles."""
        return int(self.wants["packed"][cycle % len(self.wants["packed"])])

    def _write(self, name: str, number: int, reserved: int) -> None:
        """The numbers are those of the cycle that reserved."""
        place = reserved % len(self.addresses)
        getattr(self.dut, f"{name}__address").set(Immediate(self.addresses[place][4 + number]))
        getattr(self.dut, f"{name}__data").set(Immediate(self.data[place][number]))
        if name == "result":
            self.dut.result__mask.set(Immediate(self.mask[place]))

    def note(self, cycle: int, flags: int) -> int:
        """See who was granted what, and take what comes back."""
        found = 0
        for name, _, datas, event in READS:
            if self.back[name] and self.back[name][0] + self.stages == cycle:
                tiles = 1 + self._packed(self.back[name].popleft())
                for key, data in list(zip(named(name, datas), datas, strict=True))[:tiles]:
                    self.reads[key].append(int(getattr(self.dut, f"{name}__{data}").value))
            if flags >> self.out.index(f"{name}__granted") & self.wants[name][cycle % len(self.wants[name])] & 1:
                self.back[name].append(cycle)
                found |= 1 << event
        for name, event in WRITES:
            if flags >> self.out.index(f"has_{name}") & 1:
                self.due[name].append(cycle)
                found |= 1 << event
        return found

    def found(self) -> Iterator[tuple[str, list[int], int]]:
        """Name, values and bits of all data read."""
        for name, values in self.reads.items():
            yield name, values, len(self.dut.append__data)


def named(name: str, datas: tuple[str, ...]) -> list[str]:
    """Names of what a reader finds."""
    return [f"{name}_{data}" for data in datas]
