"""Running maximum: the largest score of each row so far, a loop of one cycle."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.npe.maximum import Maximum
from skipopu.hdl.npe.row_memory import RowBanks, row_bits
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.spec.number_format import FP16


class RunningMaximum(Block):
    """The running maximum of a row with a tile's taken in (`numerics.softmax.larger`), two banks of rows.

    Parameters
    ----------
    rows : of a bank

    Ports
    -----
    valid, first (1), bank (1), row : in, a tile of scores, the cycle before its maximum; ``first``: its row starts
    tile_maximum : in, FP16, the cycle after ``valid``
    previous, maximum : out, FP16, two cycles after ``valid``: the running maximum without the tile and with it
    read_bank, read_row : in · read_maximum : out, FP16
    written (1), written_bank, written_row, written_maximum : out, what is written in this cycle, one after ``valid``

    Timing
    ------
    Initiation interval 1, for tiles of the same row too. ``read_maximum`` the cycle after its address, with what is
    written in the address' cycle; a bank that has tiles on their way is not read.
    """

    def __init__(self, *, rows: int) -> None:
        self._rows = rows
        row, number = row_bits(rows), FP16.bits
        super().__init__({
            "valid": In(1), "first": In(1), "bank": In(1), "row": In(row), "tile_maximum": In(number),
            "previous": Out(number), "maximum": Out(number),
            "read_bank": In(1), "read_row": In(row), "read_maximum": Out(number),
            "written": Out(1), "written_bank": Out(1), "written_row": Out(row), "written_maximum": Out(number),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Read, compare, write."""
        m = Module()
        memory = place(m, "memory", RowBanks(rows=self._rows, bits=FP16.bits))
        valid = in_flight(m, self.valid, 1, "tile")[1]
        first = delayed(m, self.first, 1, "first")
        previous = named(m, Mux(first, Const(NEGATIVE_INFINITY, FP16.bits), memory.loop_data), "running")
        maximum = self._larger(m, previous)
        m.d.comb += [
            memory.loop.eq(self.valid), memory.loop_bank.eq(self.bank), memory.loop_row.eq(self.row),
            memory.read_bank.eq(self.read_bank), memory.read_row.eq(self.read_row),
            self.read_maximum.eq(memory.read_data),
            self.written.eq(valid), self.written_bank.eq(delayed(m, self.bank, 1, "bank")),
            self.written_row.eq(delayed(m, self.row, 1, "row")), self.written_maximum.eq(maximum),
            memory.write.eq(self.written), memory.write_bank.eq(self.written_bank),
            memory.write_row.eq(self.written_row), memory.write_data.eq(self.written_maximum),
            self.previous.eq(delayed(m, previous, 1, "previous")), self.maximum.eq(delayed(m, maximum, 1, "maximum")),
        ]  # fmt: skip
        return m

    def _larger(self, m: Module, previous: Value) -> Value:
        """The tile's maximum, if it is larger than the running one."""
        larger, found = place(m, "larger", Maximum(lanes=1, stages=0)), Signal(FP16.bits, name="larger_maximum")
        m.d.comb += [larger.running.eq(previous), larger.number[0].eq(self.tile_maximum), found.eq(larger.result)]
        return found
