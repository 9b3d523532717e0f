"""A netlist over several cycles: every net in every cycle as a term over the inputs of all cycles.

Registers hold anything in cycle 0, and so does in every cycle what nothing drives (``x``): what is proved of
the terms holds from any state, hence in every cycle, and for any inputs before and after.
"""

from collections.abc import Iterator, Sequence

import z3

from skipopu.hdl.formal import cells
from skipopu.hdl.formal.netlist import Bit, Cell, Netlist
from skipopu.hdl.formal.terms import Term

REGISTER = "$dff"


class Unrolled:
    """Terms of the nets of ``netlist``; inputs are the constants ``<port>@<cycle>``."""

    def __init__(self, netlist: Netlist) -> None:
        self._netlist = netlist
        self._known: dict[tuple[str, int], Term] = {}

    def input(self, port: str, cycle: int) -> Term:
        """Return the free constant that the input carries in this cycle."""
        return z3.BitVec(f"{port}@{cycle}", len(self._netlist.inputs[port]))

    def output(self, port: str, cycle: int) -> Term:
        """Return the value of the output in this cycle."""
        return self._word(self._netlist.outputs[port], cycle)

    def _word(self, bits: Sequence[Bit], cycle: int) -> Term:
        parts = [self._slice(run, cycle) for run in _runs(bits, self._netlist)]
        return z3.Concat(*reversed(parts)) if len(parts) > 1 else parts[0]

    def _slice(self, bits: Sequence[Bit], cycle: int) -> Term:
        """Neighbouring bits of one source, or one bit without a source."""
        if bits[0] in ("0", "1"):
            return z3.BitVecVal(int(bits[0]), 1)
        if bits[0] not in self._netlist.drivers:
            return z3.FreshConst(z3.BitVecSort(1), "undriven")
        source, low = self._netlist.drivers[bits[0]]
        value = self._cell(source, cycle) if isinstance(source, Cell) else self.input(source, cycle)
        return value if len(bits) == value.size() else z3.Extract(low + len(bits) - 1, low, value)

    def _cell(self, cell: Cell, cycle: int) -> Term:
        key = cell.name, cycle
        if key not in self._known:
            value = self._register if cell.type == REGISTER else self._logic
            self._known[key] = value(cell, cycle)
        return self._known[key]

    def _register(self, cell: Cell, cycle: int) -> Term:
        if cycle == 0:
            return z3.BitVec(f"{cell.name}@0", len(cell.output))
        return self._word(cell.pins["D"], cycle - 1)

    def _logic(self, cell: Cell, cycle: int) -> Term:
        pins = {pin: self._word(bits, cycle) for pin, bits in cell.pins.items() if pin != "Y"}
        return cells.output(cell, pins)


def _runs(bits: Sequence[Bit], netlist: Netlist) -> Iterator[list[Bit]]:
    """Cut into pieces that are neighbours in one source, lowest first."""
    run: list[Bit] = []
    for bit in bits:
        if run and not _neighbours(run[-1], bit, netlist):
            yield run
            run = []
        run.append(bit)
    yield run


def _neighbours(bit: Bit, following: Bit, netlist: Netlist) -> bool:
    left, right = netlist.drivers.get(bit), netlist.drivers.get(following)
    return left is not None and right is not None and left[0] is right[0] and left[1] + 1 == right[1]
