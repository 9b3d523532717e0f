"""Resource model of the PE array: LUT, FF, DSP48E2 and BRAM36 of every module, from the overlay's parameters.

Counted, not fitted: a term is a register or a piece of logic of the RTL, at the prices of `resource_terms`.
What a synthesis tool saves across such pieces, and what placement adds, is not in it.
"""

from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.overlay import Overlay
from skipopu.spec.resource_terms import Estimate, Module
from skipopu.spec.resources_of_buffers import modules_of_buffers
from skipopu.spec.resources_of_columns import modules_of_columns, pairs


def modules(overlay: Overlay) -> tuple[Module, ...]:
    """Every module of the array with its count, its registers and its logic, the top last."""
    return (*modules_of_columns(overlay), *modules_of_buffers(overlay))


def pe_array(overlay: Overlay) -> Estimate:
    """Cells of the whole array with its buffers."""
    return _total(modules(overlay))


def column_pair(overlay: Overlay) -> Estimate:
    """Cells of two neighbouring columns, which share their multipliers."""
    one = [Module(m.name, m.count // pairs(overlay), m.registers, m.logic, m.dsp48e2, m.bram36)
           for m in modules_of_columns(overlay)]  # fmt: skip
    return _total(one)


def flip_flop_bits(overlay: Overlay) -> int:
    """Register bits of the array as written in Verilog, those inside DSP slices not counted."""
    return sum(module.count * module.flip_flops for module in modules(overlay))


def dsp_slices(overlay: Overlay) -> int:
    """DSP48E2 of the array: one for two products, and in the dsp tree one for two additions."""
    pe = overlay.pe_array
    shared = pe.columns // COLUMNS
    return shared * pe.dot_length + (shared * (pe.dot_length - 1) if pe.tree == "dsp" else 0)


def multipliers(overlay: Overlay, *, primitive: bool) -> int:
    """Operators ``*`` in the Verilog.

    The auxiliary product of every PE, and its slice where that is a model.
    """
    pe = overlay.pe_array
    return pe.columns // COLUMNS * pe.dot_length * (1 if primitive else 2)


def _total(parts: "tuple[Module, ...] | list[Module]") -> Estimate:
    return sum((part.estimate * part.count for part in parts), Estimate())
