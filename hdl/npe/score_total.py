"""Score totals: the sum of e^(score − maximum) of each row, scaled to the new maximum when that has grown."""

from typing import Any

from amaranth.hdl import Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.npe.row_memory import RowBanks, row_bits
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place


class ScoreTotal(Block):
    """The total of a row with a tile's taken in (`numerics.softmax.add_scores`), two banks of rows.

    Parameters
    ----------
    rows : of a bank
    scale_stages : of the multiplication with the factor
    add_stages : of the adder; its last register is the memory

    Ports
    -----
    valid, first (1), bank (1), row : in, a tile; ``first``: its row starts at zero
    changed (1), factor (FP32) : in, the cycle after: the row's maximum has grown, the total so far shrinks by that
    tile_sum : in, FP32, ``scale_stages`` + 1 cycles after ``valid``
    read_bank, read_row : in · read_total : out, FP32
    written (1), written_bank, written_row, total : out, what is written in this cycle, ``scale_stages`` +
        ``add_stages`` after ``valid``

    Timing
    ------
    Initiation interval 1; ``scale_stages`` + ``add_stages`` between tiles of one row. ``read_total`` the cycle after
    its address, with what is written in the address' cycle; a bank that has tiles on their way is not read.
    """

    def __init__(self, *, rows: int, scale_stages: int, add_stages: int) -> None:
        self._rows, self._scale, self._add = rows, scale_stages, add_stages
        row, number = row_bits(rows), FP32.bits
        super().__init__({
            "valid": In(1), "first": In(1), "bank": In(1), "row": In(row),
            "changed": In(1), "factor": In(number), "tile_sum": In(number),
            "read_bank": In(1), "read_row": In(row), "read_total": Out(number),
            "written": Out(1), "written_bank": Out(1), "written_row": Out(row), "total": Out(number),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Memory, multiplier, adder."""
        m = Module()
        loop = self._scale + self._add
        memory = place(m, "memory", RowBanks(rows=self._rows, bits=FP32.bits))
        adder = place(m, "adder", FloatAddition(format="fp32", stages=self._add, registered_output=False))
        total = named(m, Mux(delayed(m, self.first, 1, "first"), 0, memory.loop_data), "total_before", FP32.bits)
        m.d.comb += [
            memory.loop.eq(self.valid), memory.loop_bank.eq(self.bank), memory.loop_row.eq(self.row),
            memory.read_bank.eq(self.read_bank), memory.read_row.eq(self.read_row),
            self.read_total.eq(memory.read_data),
            adder.a.eq(self._kept(m, total)), adder.b.eq(self.tile_sum), self.total.eq(adder.result),
            self.written.eq(in_flight(m, self.valid, loop, "tiles")[-1]),
            self.written_bank.eq(delayed(m, self.bank, loop, "bank")),
            self.written_row.eq(delayed(m, self.row, loop, "row")),
            memory.write.eq(self.written), memory.write_bank.eq(self.written_bank),
            memory.write_row.eq(self.written_row), memory.write_data.eq(self.total),
        ]  # fmt: skip
        return m

    def _kept(self, m: Module, total: Value) -> Value:
        """The total so far, relative to the new maximum: as it is if that is the old one."""
        block = FloatMultiplier(a_format="fp32", b_format="fp32", format="fp32", stages=self._scale)
        rescaled = place(m, "rescaled", block)
        m.d.comb += [rescaled.a.eq(total), rescaled.b.eq(self.factor)]
        changed = delayed(m, self._rescales(), self._scale, "changed")
        kept: Value = named(m, Mux(changed, rescaled.result, delayed(m, total, self._scale, "total")), "kept")
        return kept

    def _rescales(self) -> Value:
        """e^0 from the table is not quite one."""
        changed: Value = self.changed
        return changed
