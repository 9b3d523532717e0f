"""Row sums: tiles' sums of squares, or of numbers, added up row by row; the adder is a loop."""

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.float_addition import FloatAddition
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.npe.row_memory import RowMemory, row_bits
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place


class RowSum(Block):
    """The sum of a row with a tile's taken in (`numerics.normalization.row_sum`).

    Parameters
    ----------
    rows : sums that are kept
    add_stages : of the adder; its last register is the memory

    Ports
    -----
    valid, first (1), row : in, a tile, the cycle before its sum; ``first``: its row starts at zero
    tile_sum : in, FP32, the cycle after ``valid``
    written (1), written_row, total : out, what is written in this cycle, ``add_stages`` after ``valid``

    Timing
    ------
    Initiation interval 1; ``add_stages`` between tiles of one row.
    """

    def __init__(self, *, rows: int, add_stages: int) -> None:
        self._rows, self._stages = rows, add_stages
        super().__init__({
            "valid": In(1), "first": In(1), "row": In(row_bits(rows)), "tile_sum": In(FP32.bits),
            "written": Out(1), "written_row": Out(row_bits(rows)), "total": Out(FP32.bits),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Memory and adder."""
        m = Module()
        memory = place(m, "memory", RowMemory(rows=self._rows, bits=FP32.bits))
        adder = place(m, "adder", FloatAddition(format="fp32", stages=self._stages, registered_output=False))
        kept = named(m, Mux(delayed(m, self.first, 1, "first"), 0, memory.read_data), "kept", FP32.bits)
        m.d.comb += [
            memory.read_row.eq(self.row), adder.a.eq(kept), adder.b.eq(self.tile_sum),
            self.total.eq(adder.result), self.written.eq(in_flight(m, self.valid, self._stages, "tiles")[-1]),
            self.written_row.eq(delayed(m, self.row, self._stages, "row")),
            memory.write.eq(self.written), memory.write_row.eq(self.written_row), memory.write_data.eq(self.total),
        ]  # fmt: skip
        return m
