"""Figures of written Verilog that the specification gives too: ports, lanes, slices, registers, bits of memories."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from skipopu.hdl.netlist import totals
from skipopu.hdl.package_blocks import MEMORY_SYSTEM, NPE, OVERLAY, PE_ARRAY
from skipopu.spec import resources
from skipopu.spec.memory_bits import buffer_memories, memories, npe_memories
from skipopu.spec.npe import word_columns
from skipopu.spec.overlay import DDR_CHANNELS

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

SLICE = "dsp48e2"  # begins the names of the modules that are one DSP slice
# kinds of memory: their names in the specification, and of the modules that are such memories
MEMORY_SYSTEM_KINDS = {
    "invariance_buffer": "kv_bank", "chunk_fifos": "async_fifo_hbm_to_core*", "write_data": "write_data",
    "bitmask": "bitmask",
}  # fmt: skip
NPE_KINDS = {"rotary_buffer": "rotary_buffer*", "row_statistics": "row_memory*", "row_lists": "gate_rows"}
BUFFER_KINDS = {
    "global_buffer": "global_buffer", "constants": "constants", "read_beats": "ddr_beat_fifo",
    "write_beats": "ddr_write_channel", "partial_sums": "psum_half", "row_tiles": "ifm",
}  # fmt: skip
NAMES = {"rotary_buffer": "ROT buffer"}


@dataclass(frozen=True)
class Count:
    """A figure of the Verilog and what the specification says it is."""

    what: str
    verilog: int
    specified: int


def counts(made: "Package") -> tuple[Count, ...]:
    """What can be counted of the whole block."""
    return tuple(count for counted in COUNTS.get(made.block, ()) for count in counted(made))


def _hbm_ports(made: "Package") -> tuple[Count, ...]:
    return (Count("AXI3 ports", _ports(made, "hbm"), made.overlay.dma.hbm_ports),)


def _ddr_ports(made: "Package") -> tuple[Count, ...]:
    return (Count("AXI ports of DDR4", _ports(made, "ddr"), DDR_CHANNELS),)


def _ports(made: "Package", memory: str) -> int:
    """Of a memory, by one of the signals that each has."""
    return sum(p.name.startswith(f"{memory}__") and p.name.endswith("__araddr") for p in made.sheet.ports)


def _memory_system(made: "Package") -> tuple[Count, ...]:
    return _bits(made, MEMORY_SYSTEM_KINDS, asdict(memories(made.overlay)))


def _npe_memories(made: "Package") -> tuple[Count, ...]:
    return _bits(made, NPE_KINDS, asdict(npe_memories(made.overlay)))


def _buffers(made: "Package") -> tuple[Count, ...]:
    return _bits(made, BUFFER_KINDS, asdict(buffer_memories(made.overlay)))


def _bits(made: "Package", kinds: dict[str, str], specified: dict[str, int]) -> tuple[Count, ...]:
    return tuple(
        Count(f"bits of {NAMES.get(kind, kind.replace('_', ' '))}", _found(made, modules), specified[kind])
        for kind, modules in kinds.items()
    )


def _found(made: "Package", modules: str) -> int:
    """Bits of the memories in all modules of such names."""
    places = made.totals.instances
    return sum(places[name] * _bits_of_one(made, name) for name in made.netlists if fnmatchcase(name, modules))


def _bits_of_one(made: "Package", module: str) -> int:
    """Of its own memories, or of those below it where it has none."""
    own = sum(memory.bits_in_all for memory in made.netlists[module].memories.values())
    return own or totals(made.netlists, module).memory_bits


def _array(made: "Package") -> tuple[Count, ...]:
    """Slices, multipliers and flip-flops of the whole array, those inside slices not counted."""
    found, overlay = totals(made.netlists, PE_ARRAY), made.overlay
    slices = {name: count for name, count in found.instances.items() if name.startswith(SLICE)}
    inside = sum(count * made.netlists[name].flip_flop_bits for name, count in slices.items())
    multipliers = resources.multipliers(overlay, primitive=made.primitive)
    return (
        Count("DSP slices", sum(slices.values()), resources.dsp_slices(overlay)),
        Count("multipliers (*)", found.operators.get("*", 0), multipliers),
        Count("flip-flop bits", found.flip_flop_bits - inside, resources.flip_flop_bits(overlay)),
    )


def _lanes(made: "Package") -> tuple[Count, ...]:
    """Lanes and reduction units of the NPE."""
    places, o = made.totals.instances, made.overlay
    kinds = {
        "result lanes": ("result_scaling", word_columns(o.pe_array.columns, o.npe.lanes)),
        "operand lanes": ("probability", o.pe_array.dot_length),
        "reduction units": ("reduction_", 1 + o.npe.layer_norm),
    }
    return tuple(
        Count(what, sum(n for name, n in places.items() if _is(name, module)), expected)
        for what, (module, expected) in kinds.items()
    )


def _is(name: str, module: str) -> bool:
    """A module of that class; behind its name stand parameters."""
    return name.startswith(module) and not name.startswith("reduction_term")


COUNTS: dict[str, tuple[Callable[["Package"], tuple[Count, ...]], ...]] = {
    OVERLAY: (_hbm_ports, _ddr_ports, _array, _lanes, _npe_memories, _memory_system, _buffers),
    PE_ARRAY: (_array,), NPE: (_lanes, _npe_memories), MEMORY_SYSTEM: (_hbm_ports, _memory_system),
}  # fmt: skip
