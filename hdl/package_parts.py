"""Resources of the overlay, block by block: what is counted, modelled and synthesised, and what is not known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skipopu.hdl.netlist import Netlist, totals
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
MODEL = "model"  # spec.resources: every register and piece of logic
COUNTED = "FF, DSP, RAM counted"  # in the Verilog; RAM at the shapes of UG573, DSP at 27 × 18 bits
SYNTHESISED, UNKNOWN = "synthesised", "LUT not estimated"


@dataclass(frozen=True)
class Part:
    """A block of the overlay; ``lut_complete``: otherwise LUTs of it, or of a part of it, are not known."""

    name: str
    cells: Estimate
    how: str
    lut_complete: bool


def parts(made: "Package") -> tuple[Part, ...]:
    """Return every block of ``made``, the overlay, with the whole as the last one."""
    found = [_array(made) if module == PE_ARRAY else _counted(made, name, (module,))
             for name, module in _blocks(made.netlists)]  # fmt: skip
    found.append(_own(made))
    whole = sum((part.cells for part in found), Estimate())
    return (*found, Part(WHOLE, whole, "", all(part.lut_complete for part in found)))


def _blocks(netlists: Mapping[str, Netlist]) -> Iterator[tuple[str, str]]:
    """Instance and module, those of the matrix engine in its place."""
    for name, module in netlists[OVERLAY].instances.items():
        if module == OPENED:
            yield from ((f"{name}.{inner}", below) for inner, below in netlists[OPENED].instances.items())
        else:
            yield name, module


def _array(made: "Package") -> Part:
    """The PE array has a model of every module; RAM and flip-flops of it equal the Verilog."""
    return Part(f"matrix.{PE_ARRAY}", resources.pe_array(made.overlay), MODEL, lut_complete=True)


def _counted(made: "Package", name: str, modules: tuple[str, ...]) -> Part:
    places = dict(totals(made.netlists, modules[0]).instances)
    return _part(made, name, {module: count for module, count in places.items() if module in made.netlists})


def _own(made: "Package") -> Part:
    return _part(made, WIRES, {OVERLAY: 1, OPENED: 1})


def _part(made: "Package", name: str, places: Mapping[str, int]) -> Part:
    """A block of modules that stand in so many places each."""
    cells = sum((module_cells(made.netlists[module]) * count for module, count in places.items()), Estimate())
    return Part(name, cells, f"{UNKNOWN}; {COUNTED}", lut_complete=False)


def synthesised_parts(made: "Package") -> tuple[Part, ...]:
    """What yosys made of every block, with the whole as the last one."""
    if made.synthesis is None:
        return ()
    blocks = {name: total(made.synthesis, module).estimate for name, module in _blocks(made.netlists)}
    blocks[WIRES] = sum((made.synthesis[module].estimate for module in (OVERLAY, OPENED)), Estimate())
    blocks[WHOLE] = total(made.synthesis, OVERLAY).estimate
    return tuple(Part(name, cells, SYNTHESISED, lut_complete=True) for name, cells in blocks.items())


def module_cells(netlist: Netlist) -> Estimate:
    """Cells that can be counted in one module: flip-flops, slices of its multipliers, memories that are not LUTs."""
    memories = (
        memory_cells(m.words, m.bits, late=m.read_ports - m.immediate, immediate=m.immediate, style=m.style)
        for m in netlist.memories.values()
        if not m.immediate
    )
    slices = sum(dsp_slices(*factors) for factors in netlist.multipliers)
    return sum(memories, Estimate(ff=netlist.flip_flop_bits, dsp48e2=slices))
