"""Scoreboard: the rows whose statistics are on their way; a row waits until its last tile can be read back."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.pipeline import named
from skipopu.hdl.verilog import Block


class Scoreboard(Block):
    """Shift register of the rows granted in the last ``distance`` − 1 cycles, compared with the row that asks.

    Parameters
    ----------
    rows : row numbers are below it
    distance : least cycles from one tile of a row to its next; 1 keeps nobody waiting

    Ports
    -----
    row, granted (1) : in, the row that asks in this cycle, and whether it goes
    free (1) : out, no equal row was granted in the last ``distance`` − 1 cycles

    Timing
    ------
    ``free`` is a combinational function of ``row``, never of ``granted``.
    """

    def __init__(self, *, rows: int, distance: int) -> None:
        self._rows, self._distance = rows, distance
        self._bits = max((rows - 1).bit_length(), 1)
        super().__init__({"row": In(self._bits), "granted": In(1), "free": Out(1)})

    @property
    def module(self) -> str:
        """One module a setting."""
        return f"scoreboard_{self._rows}_{self._distance}"

    def elaborate(self, platform: Any) -> Module:
        """As many registers as cycles that count, the youngest first."""
        m = Module()
        layout = data.StructLayout({"row": self._bits, "there": 1})
        youngest: Any = data.View(layout, named(m, Cat(self.row, self.granted), "asking"))
        equal: list[Value] = []
        for age in range(1, self._distance):
            register = Signal(layout, name=f"granted_{age}")
            m.d.sync += register.eq(youngest)
            equal.append(self._hit(register))
            youngest = register
        m.d.comb += self.free.eq(~named(m, Cat(equal).any(), "hit"))
        return m

    def _hit(self, earlier: Any) -> Value:
        hit: Value = earlier.there & (earlier.row == self.row)
        return hit
