"""A second opinion on a DRAM command trace, written from the JEDEC definitions and not from the model.

`violations` replays commands in order of time and keeps, for each kind of command, when it last happened
where.
Ticks are worked out here from the nanoseconds of the data sheet, in exact arithmetic.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from skipopu.spec.memory import Memory

LONG_AGO = -(10**9)
ACTIVATE, PRECHARGE, PRECHARGE_ALL, REFRESH, READ, WRITE = range(6)


class Command(NamedTuple):
    """``bank`` counts through all banks, group by group; −1 means all."""

    tick: int
    kind: int
    bank: int
    row: int


def ticks(memory: Memory, name: str) -> int:
    """A timing parameter in cycles of the AXI clock, rounded up beyond the guard."""
    exact = Fraction(str(getattr(memory.timing, name))) * memory.axi_mhz / 1000
    return max(1, math.ceil(exact - Fraction(str(memory.rounding_guard))))


def decode(memory: Memory, beat: int) -> tuple[int, int, int]:
    """(bank, row, column) of a beat address, read letter by letter from the address map's bit string."""
    sizes = {"R": memory.rows, "G": memory.bank_groups, "B": memory.banks_per_group, "C": memory.columns}
    bits = {letter: size.bit_length() - 1 for letter, size in sizes.items()}
    pattern = ""  # most significant bit first, a letter a bit
    for position, letter in enumerate(memory.address_map):
        again = letter in memory.address_map[position + 1 :]
        before = letter in memory.address_map[:position]
        pattern += letter * (1 if before else bits[letter] - 1 if again else bits[letter])
    text = format(beat % (1 << len(pattern)), f"0{len(pattern)}b")
    value = dict.fromkeys("RGBC", 0)
    for bit, letter in zip(text, pattern, strict=True):
        value[letter] = 2 * value[letter] + int(bit)
    return value["G"] * memory.banks_per_group + value["B"], value["R"], value["C"]


class Replay:
    """State of one channel as the rules see it."""

    def __init__(self, memory: Memory, first_refresh: int) -> None:
        self.memory = memory
        self.t = {name: ticks(memory, name) for name in memory.timing.__dataclass_fields__}
        self.row = [-1] * memory.banks
        self.last = {kind: [LONG_AGO] * memory.banks for kind in range(6)}
        self.activates: list[int] = []
        self.bus = {"row": LONG_AGO, "column": LONG_AGO}
        self.refresh_due = first_refresh

    def group(self, bank: int) -> list[int]:
        size = self.memory.banks_per_group
        return [b for b in range(self.memory.banks) if b // size == bank // size]

    def latest(self, kind: int, banks: list[int] | None = None) -> int:
        return max(self.last[kind][b] for b in (range(self.memory.banks) if banks is None else banks))

    def apply(self, command: Command) -> Iterator[str]:
        """Yield the rules that ``command`` breaks, then take it for done."""
        for rule, earliest in self.rules(command):
            if command.tick < earliest:
                yield f"{rule}: {command} before {earliest}"
        bus = "column" if command.kind in (READ, WRITE) else "row"
        if command.tick <= self.bus[bus]:
            yield f"{bus} bus: {command}"
        self.bus[bus] = command.tick
        yield from self.states(command)
        self.note(command)

    def rules(self, c: Command) -> Iterator[tuple[str, int]]:
        if c.kind == ACTIVATE:
            yield from self.activate_rules(c)
        elif c.kind == READ or c.kind == WRITE:
            yield from self.column_rules(c)
        elif c.kind == REFRESH:
            yield "tRP", self.latest(PRECHARGE) + self.t["tRP"]
            yield "tRFC", self.latest(REFRESH) + self.t["tRFC"]
            yield "refresh before it is due", self.refresh_due
        else:
            for bank in range(self.memory.banks) if c.bank < 0 else [c.bank]:
                if self.row[bank] >= 0:
                    yield from self.precharge_rules(bank)

    def activate_rules(self, c: Command) -> Iterator[tuple[str, int]]:
        t, group = self.t, self.group(c.bank)
        yield "tRP", self.last[PRECHARGE][c.bank] + t["tRP"]
        yield "tRFC", self.latest(REFRESH) + t["tRFC"]
        yield "tRRD_S", self.latest(ACTIVATE) + t["tRRD_S"]
        yield "tRRD_L", self.latest(ACTIVATE, group) + t["tRRD_L"]
        if len(self.activates) >= 4:
            yield "tFAW", self.activates[-4] + t["tFAW"]

    def column_rules(self, c: Command) -> Iterator[tuple[str, int]]:
        t, group = self.t, self.group(c.bank)
        columns = max(self.latest(READ), self.latest(WRITE))
        in_group = max(self.latest(READ, group), self.latest(WRITE, group))
        yield "tCCD_S", columns + t["tCCD_S"]
        yield "tCCD_L", in_group + t["tCCD_L"]
        if c.kind == WRITE:
            yield "tRCD_write", self.last[ACTIVATE][c.bank] + t["tRCD_write"]
            yield "tRTW", self.latest(READ) + t["tRTW"]
            return
        data = t["tCWL"] + t["tCCD_S"]  # a burst lasts as long as the closest columns are apart
        yield "tRCD_read", self.last[ACTIVATE][c.bank] + t["tRCD_read"]
        yield "tWTR_S", self.latest(WRITE) + data + t["tWTR_S"]
        yield "tWTR_L", self.latest(WRITE, group) + data + t["tWTR_L"]

    def precharge_rules(self, bank: int) -> Iterator[tuple[str, int]]:
        t = self.t
        yield "tRAS", self.last[ACTIVATE][bank] + t["tRAS"]
        yield "tRTP", self.last[READ][bank] + t["tRTP"]
        yield "tWR", self.last[WRITE][bank] + t["tCWL"] + t["tCCD_S"] + t["tWR"]

    def states(self, c: Command) -> Iterator[str]:
        if c.kind == ACTIVATE and self.row[c.bank] >= 0:
            yield f"activate of an open bank: {c}"
        if c.kind in (READ, WRITE, PRECHARGE) and self.row[c.bank] != c.row:
            yield f"row {self.row[c.bank]} is open: {c}"
        if c.kind == REFRESH and max(self.row) >= 0:
            yield f"refresh with open rows: {c}"
        if c.kind == REFRESH and c.tick > self.refresh_due + self.t["tREFI"]:
            yield f"refresh more than tREFI late: {c}"
        if c.kind in (ACTIVATE, PRECHARGE, READ, WRITE) and c.tick >= self.refresh_due:
            yield f"a refresh is due: {c}"

    def note(self, c: Command) -> None:
        if c.kind == PRECHARGE_ALL or c.kind == REFRESH:
            closed = [b for b, row in enumerate(self.row) if row >= 0 or c.kind == REFRESH]
            kind = PRECHARGE if c.kind == PRECHARGE_ALL else REFRESH
            for bank in closed:
                self.row[bank], self.last[kind][bank] = -1, c.tick
            self.refresh_due += self.t["tREFI"] if c.kind == REFRESH else 0
            return
        self.last[c.kind][c.bank] = c.tick
        self.row[c.bank] = -1 if c.kind == PRECHARGE else c.row
        if c.kind == ACTIVATE:
            self.activates.append(c.tick)


def violations(memory: Memory, commands: list[Command], first_refresh: int) -> list[str]:
    """Return every rule broken by the commands of one channel, as ``rule: command ...``."""
    replay = Replay(memory, first_refresh)
    return [broken for command in sorted(commands) for broken in replay.apply(command)]
