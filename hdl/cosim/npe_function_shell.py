"""Shell of function units: all of them side by side, each fed a case a cycle."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.cosim.npe_function import inputs_of, outputs_of
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.verilog import Block, place


class NpeFunctions(Block):
    """Function units whose ports are gathered into one word each way: a bench reads and writes once a cycle.

    Parameters
    ----------
    units : what is tested; equal ones may stand there twice

    Ports
    -----
    operands : in, the inputs of the units, the first unit's lowest
    results : out, their outputs, likewise

    Timing
    ------
    That of the units.
    """

    def __init__(self, *, units: tuple[Unit, ...]) -> None:
        self._units = units
        widths = (sum(ports(unit).bits for unit in units) for ports in (inputs_of, outputs_of))
        super().__init__({"operands": In(next(widths)), "results": Out(next(widths))})

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m = Module()
        at = {In: 0, Out: 0}
        for number, unit in enumerate(self._units):
            inner = place(m, f"unit{number}", unit)
            for _, member, port in unit.signature.flatten(inner):
                value = Value.cast(port)
                bits = (self.operands if member.flow == In else self.results)[at[member.flow] :][: len(value)]
                m.d.comb += value.eq(bits) if member.flow == In else bits.eq(value)
                at[member.flow] += len(value)
        return m
