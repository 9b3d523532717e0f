"""Shell: a block whose one-bit ports stand side by side, so that a bench reads or writes all of them at once."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.verilog import Block, place


class Shell(Block):
    """``block`` with its one-bit ports gathered; a read through VPI costs more than a cycle of Verilator.

    Parameters
    ----------
    block : what is tested

    Ports
    -----
    flags_in : in, the one-bit inputs of the block, in the order of `flag_names`
    flags_out : out, its one-bit outputs
    every other port of the block, flat and under its Verilog name

    Timing
    ------
    None of its own.
    """

    def __init__(self, *, block: Block) -> None:
        self._block = block
        wide = {name: flow(len(value)) for name, flow, value in _ports(block, block) if len(value) > 1}
        super().__init__({
            "flags_in": In(len(flag_names(block, In))), "flags_out": Out(len(flag_names(block, Out))), **wide
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m = Module()
        inner = place(m, "block", self._block)
        flags = {flow: iter(flag) for flow, flag in ((In, self.flags_in), (Out, self.flags_out))}
        for name, flow, value in _ports(self._block, inner):
            outer = next(flags[flow]) if len(value) == 1 else getattr(self, name)
            m.d.comb += value.eq(outer) if flow == In else outer.eq(value)
        return m


def flag_names(block: Block, flow: Any) -> list[str]:
    """Verilog names of the one-bit ports of one direction, the lowest bit's first."""
    return [name for name, its_flow, value in _ports(block, block) if its_flow == flow and len(value) == 1]


def _ports(block: Block, interface: Any) -> list[tuple[str, Any, Value]]:
    return [
        ("__".join(map(str, path)), member.flow, Value.cast(value))
        for path, member, value in block.signature.flatten(interface)
    ]  # fmt: skip
