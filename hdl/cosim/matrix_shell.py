"""Shell of MatrixControl: all its inputs in one word, all its outputs in another."""

from typing import Any, NamedTuple

from amaranth.hdl import Cat, Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.matrix_control import MatrixControl
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import Overlay


class Port(NamedTuple):
    """Bits of a word."""

    at: int
    width: int


class MatrixShell(Block):
    """MatrixControl; a bench writes one word and reads one word a cycle.

    Parameters
    ----------
    overlay : of the block

    Ports
    -----
    given : in, all inputs · found : out, all outputs, one after the other as `ports` says

    Timing
    ------
    None of its own.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        sizes = [sum(port.width for port in ports(overlay, flow).values()) for flow in (In, Out)]
        super().__init__({"given": In(sizes[0]), "found": Out(sizes[1])})

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m, block = Module(), MatrixControl(overlay=self._overlay)
        inner = place(m, "control", block)
        flat = list(block.signature.flatten(inner))
        inputs, outputs = ([Value.cast(v) for _, member, v in flat if member.flow == flow] for flow in (In, Out))
        m.d.comb += [Cat(*inputs).eq(self.given), self.found.eq(Cat(*outputs))]
        return m


def ports(overlay: Overlay, flow: Any) -> dict[str, Port]:
    """Return the ports of one direction, by their Verilog names."""
    block, found, at = MatrixControl(overlay=overlay), {}, 0
    for path, member, value in block.signature.flatten(block):
        if member.flow == flow:
            width = len(Value.cast(value))
            found["__".join(map(str, path))] = Port(at, width)
            at += width
    return found
