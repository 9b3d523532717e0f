"""Line table: a function from a ROM of lines, base and slope, and one multiplication along a line."""

from typing import Any

from amaranth.hdl import Cat, Module, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.numerics.exponential import POWERS
from skipopu.numerics.line_table import INDEX_BITS
from skipopu.numerics.reciprocal import HALF_ROOTS, RECIPROCALS, ROOTS

TABLES = {"powers": POWERS, "reciprocals": RECIPROCALS, "roots": ROOTS, "half_roots": HALF_ROOTS}


def table_bits(*tables: str) -> int:
    """Return the width of what the tables return: the larger end of every line fits."""
    ends = [end for name in tables for end in (TABLES[name].base, TABLES[name].base + TABLES[name].slope)]
    return max(int(end.max()) for end in ends).bit_length()


class LineTable(Unit):
    """A function of [0, 1) in units of 2^−22 (`numerics.line_table.along_line`).

    The slope, 17 bits signed, times the step, ``bits`` − 7 ≤ 17 bits, is one DSP48E2 (27 × 18 signed), which also adds
    the base. The ROM has 128 lines of about 40 bits a table.

    Parameters
    ----------
    tables : names of `TABLES`, a power of two of them
    bits : of the argument
    stages : latency in cycles of the steps look up, multiply, add

    Ports
    -----
    select : in, which of several tables · argument (bits) : in, units of 2^−bits
    value : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 3

    def __init__(self, *, tables: tuple[str, ...], bits: int, stages: int) -> None:
        self._tables, self._rest, self._stages = tables, bits - INDEX_BITS, stages
        select = {"select": In(range(len(tables)))} if len(tables) > 1 else {}
        super().__init__({**select, "argument": In(bits), "value": Out(table_bits(*tables))})

    def elaborate(self, platform: Any) -> Module:
        """ROM, product, sum."""
        m = Module()
        look_up, multiply, add = registers(self.STEPS, self._stages)
        segment = self.argument[self._rest :]
        if len(self._tables) > 1:
            segment = Cat(segment, self.select)
        line = delayed(m, self._line(m, segment), look_up, "line")
        step = delayed(m, named(m, self.argument[: self._rest], "step"), look_up, "step")
        base = delayed(m, named(m, line[: len(self.value)], "base"), multiply, "base")
        product = delayed(m, named(m, self._product(line, step), "product"), multiply, "product")
        found = named(m, (base + (product >> self._rest))[: len(self.value)], "found")
        m.d.comb += self.value.eq(delayed(m, found, add, "value"))
        return m

    def _product(self, line: Value, step: Value) -> Value:
        return line[len(self.value) :].as_signed() * step

    def _line(self, m: Module, segment: Value) -> Value:
        """Base and slope of a segment."""
        base_bits, words = len(self.value), []
        for name in self._tables:
            lines = zip(TABLES[name].base.tolist(), TABLES[name].slope.tolist(), strict=True)
            words += [base | (slope & self._slope_mask()) << base_bits for base, slope in lines]
        bits = base_bits + self._slope_mask().bit_length()
        m.submodules.lines = lines_rom = Memory(shape=bits, depth=len(words), init=words)
        port = lines_rom.read_port(domain="comb")
        m.d.comb += port.addr.eq(segment)
        line: Value = named(m, port.data, "line")
        return line

    def _slope_mask(self) -> int:
        """As many ones as the slopes have bits, sign included."""
        most = max(int(abs(TABLES[name].slope).max()) for name in self._tables)
        return (1 << most.bit_length() + 1) - 1
