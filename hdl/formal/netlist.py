"""Netlist of a block: the cells below it, flat, out of the RTLIL that its Verilog is written from.

Yosys turns processes into multiplexers and registers (``proc``) and takes the hierarchy away (``flatten``);
nothing is optimised. It reads the RTLIL out of which :func:`skipopu.hdl.verilog.emit` writes the Verilog.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skipopu.hdl.verilog import YOSYS, Block, _collect, _converted
from skipopu.spec.error import SpecError

PASSES = ("proc -noopt -norom", "flatten -noscopeinfo", "opt_clean", "write_json")
OUTPUTS = ("Y", "Q")  # a cell has one of them

Bit = int | str  # number of a net, or the constant "0", "1", "x"


@dataclass(frozen=True)
class Cell:
    """A cell of Yosys' internal library (``$add``, ``$mux``, ``$dff`` …)."""

    name: str
    type: str
    parameters: Mapping[str, int]
    pins: Mapping[str, tuple[Bit, ...]]  # lowest bit first

    @property
    def output(self) -> tuple[Bit, ...]:
        """Bits of Y or, of a register, Q."""
        return next(self.pins[pin] for pin in OUTPUTS if pin in self.pins)


@dataclass(frozen=True)
class Netlist:
    """Ports and cells of one module without submodules; SpecError where it is not plain synchronous logic."""

    inputs: Mapping[str, tuple[Bit, ...]]
    outputs: Mapping[str, tuple[Bit, ...]]
    cells: Sequence[Cell]
    drivers: dict[Bit, tuple[str | Cell, int]] = field(default_factory=dict)  # port or cell, and its bit

    def __post_init__(self) -> None:
        for port, bits in self.inputs.items():
            self._drive(port, bits)
        for cell in self.cells:
            self._drive(cell, cell.output)
        clocked = [cell for cell in self.cells if "CLK" in cell.pins]
        clocks = {(cell.pins["CLK"], cell.parameters["CLK_POLARITY"]) for cell in clocked}
        if not clocks <= {(self.inputs.get("clk"), 1)}:
            raise SpecError(f"registers take {clocks}; valid is one clock, the rising edge of the input clk")

    def _drive(self, source: str | Cell, bits: tuple[Bit, ...]) -> None:
        for index, bit in enumerate(bits):
            if bit in self.drivers:
                raise SpecError(f"net {bit} has two drivers: {self.drivers[bit][0]} and {source}")
            self.drivers[bit] = (source, index)


def netlist(block: Block) -> Netlist:
    """Return the netlist of ``block`` with all blocks below it."""
    blocks: dict[str, Block] = {}
    _collect(block, blocks)
    rtlil = "".join(_converted(each).rtlil for each in blocks.values())
    return parsed(json.loads(_json(rtlil, block.module)), block.module)


def parsed(design: Any, top: str) -> Netlist:
    """Return module ``top`` of what ``write_json`` wrote; SpecError on what is not input, output or cell."""
    module = design["modules"][top]
    ways: dict[str, dict[str, tuple[Bit, ...]]] = {"input": {}, "output": {}}
    for name, port in module["ports"].items():
        if port["direction"] not in ways:
            raise SpecError(f"{top}.{name}: {port['direction']} is not translated; valid: {', '.join(ways)}")
        ways[port["direction"]][name] = tuple(port["bits"])
    cells = [_cell(name, cell) for name, cell in module["cells"].items()]
    return Netlist(ways["input"], ways["output"], cells)


def _cell(name: str, cell: Any) -> Cell:
    pins = {pin: tuple(bits) for pin, bits in cell["connections"].items()}
    if not any(pin in pins for pin in OUTPUTS):
        raise SpecError(f"cell {name}: {cell['type']} is not translated; valid are cells with output Y or Q")
    return Cell(name, cell["type"], {key: int(bits, 2) for key, bits in cell["parameters"].items()}, pins)


def _json(rtlil: str, top: str) -> str:
    from amaranth.back import verilog

    script = "\n".join((f"read_rtlil <<rtlil\n{rtlil}\nrtlil", f"hierarchy -check -top {top}", *PASSES, ""))
    yosys = verilog.find_yosys(lambda version: version >= YOSYS)
    text: str = yosys.run(["-q", "-"], script, ignore_warnings=True)
    return text
