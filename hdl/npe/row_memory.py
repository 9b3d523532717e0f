"""Row memory: a word for each row of a block, read and written by a loop, or read by whoever needs the row."""

from typing import Any

from amaranth.hdl import Module, Mux, Value, unsigned
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import Block, place

BANKS = 2


def row_bits(rows: int) -> int:
    """Return the width of a row number below ``rows``."""
    return max((rows - 1).bit_length(), 1)


class RowMemory(Block):
    """Memory with a write and a read port; a read sees the write of the same cycle.

    Parameters
    ----------
    rows, bits : depth and width

    Ports
    -----
    write (1), write_row, write_data : in
    read_row : in · read_data : out

    Timing
    ------
    ``read_data`` the cycle after ``read_row``; initiation interval 1.
    """

    def __init__(self, *, rows: int, bits: int) -> None:
        self._rows, self._bits = rows, bits
        super().__init__({
            "write": In(1), "write_row": In(row_bits(rows)), "write_data": In(bits),
            "read_row": In(row_bits(rows)), "read_data": Out(bits),
        })  # fmt: skip

    @property
    def module(self) -> str:
        """One module a width."""
        return f"row_memory_{self._rows}_{self._bits}"

    def elaborate(self, platform: Any) -> Module:
        """Block RAM."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=unsigned(self._bits), depth=self._rows, init=[])
        write = memory.write_port()
        read = self._read_port(memory, write)
        m.d.comb += [
            write.en.eq(self.write), write.addr.eq(self.write_row), write.data.eq(self.write_data),
            read.en.eq(1), read.addr.eq(self.read_row), self.read_data.eq(read.data),
        ]  # fmt: skip
        return m

    def _read_port(self, memory: Memory, write: Any) -> Any:
        """It sees the write of the same cycle."""
        return memory.read_port(transparent_for=(write,))


class RowBanks(Block):
    """Two row memories: one is updated by a loop while the other is read.

    Parameters
    ----------
    rows, bits : depth of a bank, and width

    Ports
    -----
    write (1), write_bank (1), write_row, write_data : in
    loop (1), loop_bank (1), loop_row : in, address of the loop's read · loop_data : out
    read_bank (1), read_row : in, address of the other read; in a bank that the loop reads it has to wait
    read_data : out

    Timing
    ------
    Data the cycle after the address, with what is written in the address' cycle.
    """

    def __init__(self, *, rows: int, bits: int) -> None:
        self._rows, self._bits = rows, bits
        row = row_bits(rows)
        super().__init__({
            "write": In(1), "write_bank": In(1), "write_row": In(row), "write_data": In(bits),
            "loop": In(1), "loop_bank": In(1), "loop_row": In(row), "loop_data": Out(bits),
            "read_bank": In(1), "read_row": In(row), "read_data": Out(bits),
        })  # fmt: skip

    @property
    def module(self) -> str:
        """One module a width."""
        return f"row_banks_{self._rows}_{self._bits}"

    def elaborate(self, platform: Any) -> Module:
        """A bank's one read port belongs to the loop while the loop is there."""
        m = Module()
        found = []
        for bank in range(BANKS):
            memory = place(m, f"bank{bank}", RowMemory(rows=self._rows, bits=self._bits))
            looped = self.loop & self._meant(self.loop_bank, bank)
            m.d.comb += [
                memory.write.eq(self.write & self._meant(self.write_bank, bank)), memory.write_row.eq(self.write_row),
                memory.write_data.eq(self.write_data), memory.read_row.eq(Mux(looped, self.loop_row, self.read_row)),
            ]  # fmt: skip
            found.append(memory.read_data)
        for name in ("loop", "read"):
            bank = delayed(m, getattr(self, f"{name}_bank"), 1, f"{name}_bank")
            m.d.comb += getattr(self, f"{name}_data").eq(Mux(bank, found[1], found[0]))
        return m

    def _meant(self, which: Value, bank: int) -> Value:
        return which == bank
