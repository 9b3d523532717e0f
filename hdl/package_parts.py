"""Resources of the overlay, block by block: what is counted, modelled and synthesised."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skipopu.hdl.netlist import Memory, Netlist, totals
from skipopu.hdl.netlist_luts import Luts
from skipopu.hdl.package_blocks import OVERLAY, PE_ARRAY
from skipopu.hdl.synthesis import total
from skipopu.spec import resources
from skipopu.spec.resource_terms import Estimate, dsp_slices
from skipopu.spec.resources_of_memories import memory_cells

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

OPENED = "matrix_engine"  # its blocks are shown by themselves
WIRES = "between them"  # registers and logic of the modules that only connect blocks
WHOLE = "the whole"
MODEL = "model"  # spec.resources: every register and piece of logic, from the parameters
COUNTED = "LUT estimated, rest counted"  # in the Verilog; RAM at the shapes of UG573 and UG574, DSP at 27 × 18 bits
SYNTHESISED = "synthesised"


@dataclass(frozen=True)
class Part:
    """A block of the overlay, and how its cells were found."""

    name: str
    cells: Estimate
    how: str


def parts(made: "Package") -> tuple[Part, ...]:
    """Return every block of ``made``, the overlay, with the whole as the last one."""
    found = [_array(made) if module == PE_ARRAY else _part(made, name, _places(made, module))
             for name, module in _blocks(made.netlists)]  # fmt: skip
    found.append(_part(made, WIRES, {OVERLAY: 1, OPENED: 1}))
    return (*found, Part(WHOLE, sum((part.cells for part in found), Estimate()), ""))


def _blocks(netlists: Mapping[str, Netlist]) -> Iterator[tuple[str, str]]:
    """Instance and module, those of the matrix engine in its place."""
    for name, module in netlists[OVERLAY].instances.items():
        if module == OPENED:
            yield from ((f"{name}.{inner}", below) for inner, below in netlists[OPENED].instances.items())
        else:
            yield name, module


def _array(made: "Package") -> Part:
    """The PE array has a model of every module; RAM and flip-flops of it equal the Verilog."""
    return Part(f"matrix.{PE_ARRAY}", resources.pe_array(made.overlay), MODEL)


def _places(made: "Package", module: str) -> dict[str, int]:
    """In how many places each module stands, from ``module`` down."""
    places = totals(made.netlists, module).instances
    return {below: count for below, count in places.items() if below in made.netlists}


def _part(made: "Package", name: str, places: Mapping[str, int]) -> Part:
    """A block of modules that stand in so many places each."""
    cells = (module_cells(made.netlists[module], made.luts[module]) * count for module, count in places.items())
    return Part(name, sum(cells, Estimate()), COUNTED)


def synthesised_parts(made: "Package") -> tuple[Part, ...]:
    """What yosys made of every block, with the whole as the last one."""
    if made.synthesis is None:
        return ()
    blocks = {name: total(made.synthesis, module).estimate for name, module in _blocks(made.netlists)}
    blocks[WIRES] = sum((made.synthesis[module].estimate for module in (OVERLAY, OPENED)), Estimate())
    blocks[WHOLE] = total(made.synthesis, OVERLAY).estimate
    return tuple(Part(name, cells, SYNTHESISED) for name, cells in blocks.items())


def module_cells(netlist: Netlist, luts: Luts) -> Estimate:
    """Cells of one module: LUTs estimated; flip-flops, slices of its products and memories counted."""
    memories = (_memory_cells(memory) for memory in netlist.memories.values())
    slices = sum(dsp_slices(*factors) for factors in netlist.multipliers)
    registers = netlist.flip_flop_bits - luts.shifted
    return sum(memories, Estimate(luts.logic + luts.shift_registers, registers, slices))


def _memory_cells(memory: Memory) -> Estimate:
    late, now = memory.read_ports - memory.immediate, memory.immediate
    return memory_cells(
        memory.words, memory.bits, late=late, immediate=now, addressed=memory.addressed, style=memory.style
    )
