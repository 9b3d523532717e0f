"""What can be counted in a written block, beside what the specification says: to show, and to check."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from skipopu.hdl.synthesis import Cells, total
from skipopu.spec import resources
from skipopu.spec.memory_bits import memories, npe_memories
from skipopu.spec.npe import word_columns
from skipopu.spec.resource_terms import Estimate

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

SCHEMA = 1
SLICE = "dsp48e2"  # begins the names of the modules that are one DSP slice
STEPS = ("broadcast", "multiply", "align", "tree", "convert", "accumulate")


@dataclass(frozen=True)
class Count:
    """A figure of the Verilog and what the specification says it is."""

    what: str
    verilog: int
    specified: int


@dataclass(frozen=True)
class ModuleFacts:
    """One module: places it stands in, flip-flop bits and model of one, where there is one; none for a slice."""

    name: str
    instances: int
    flip_flop_bits: int
    specified_flip_flop_bits: int | None
    model: Estimate | None


def counts(made: "Package") -> tuple[Count, ...]:
    """What can be counted of the whole block."""
    return COUNTS[made.block](made)


def is_array(made: "Package") -> bool:
    """There is a model of every module; else only of its memories."""
    return made.block == "pe_array"


def _memory_counts(made: "Package") -> tuple[Count, ...]:
    """AXI ports and bits of the large memories."""
    places, specified = made.totals.instances, memories(made.overlay)
    bits = {
        name: places[name] * sum(memory.words * memory.bits for memory in netlist.memories.values())
        for name, netlist in made.netlists.items()
    }
    kinds = {
        "kv_bank": specified.invariance_buffer, "async_fifo_hbm_to_core": specified.chunk_fifos,
        "write_data": specified.write_data, "bitmask": specified.bitmask,
    }  # fmt: skip
    ports = sum(port.name.startswith("hbm__") and port.name.endswith("__araddr") for port in made.sheet.ports)
    found = (Count(f"bits of {kind}", sum(n for name, n in bits.items() if name.startswith(kind)), expected)
             for kind, expected in kinds.items())  # fmt: skip
    return (Count("AXI3 ports", ports, made.overlay.dma.hbm_ports), *found)


def _array_counts(made: "Package") -> tuple[Count, ...]:
    """Slices, multipliers and flip-flops of the whole, those inside slices not counted."""
    found, overlay = made.totals, made.overlay
    slices = {name: count for name, count in found.instances.items() if name.startswith(SLICE)}
    inside = sum(count * made.netlists[name].flip_flop_bits for name, count in slices.items())
    multipliers = resources.multipliers(overlay, primitive=made.primitive)
    return (
        Count("DSP slices", sum(slices.values()), resources.dsp_slices(overlay)),
        Count("multipliers (*)", found.operators.get("*", 0), multipliers),
        Count("flip-flop bits", found.flip_flop_bits - inside, resources.flip_flop_bits(overlay)),
    )


def _npe_counts(made: "Package") -> tuple[Count, ...]:
    """Lanes, reduction units and bits of the memories."""
    places, o, specified = made.totals.instances, made.overlay, npe_memories(made.overlay)
    lanes = {
        "result lanes": ("result_scaling", word_columns(o.pe_array.columns, o.npe.lanes)),
        "operand lanes": ("probability", o.pe_array.dot_length),
        "reduction units": ("reduction_", 1 + o.npe.layer_norm),
    }
    memories_of = {
        "ROT buffer": ("rotary_buffer", specified.rotary_buffer),
        "row statistics": ("row_memory", specified.row_statistics), "row lists": ("gate_rows", specified.row_lists),
    }  # fmt: skip
    found = [
        Count(what, sum(n for name, n in places.items() if _is(name, module)), expected)
        for what, (module, expected) in lanes.items()
    ]  # fmt: skip
    bits = {
        name: places[name] * sum(memory.words * memory.bits for memory in netlist.memories.values())
        for name, netlist in made.netlists.items()
    }
    found += [
        Count(f"bits of {what}", sum(n for name, n in bits.items() if _is(name, module)), expected)
        for what, (module, expected) in memories_of.items()
    ]  # fmt: skip
    return tuple(found)


def _is(name: str, module: str) -> bool:
    """A module of that class; behind its name stand parameters."""
    return name.startswith(module) and not name.startswith("reduction_term")


COUNTS: dict[str, Callable[["Package"], tuple[Count, ...]]] = {
    "pe_array": _array_counts, "npe": _npe_counts, "memory_system": _memory_counts,
}  # fmt: skip


def modules(made: "Package") -> tuple[ModuleFacts, ...]:
    """Every module, children first."""
    known = {module.name: module for module in resources.modules(made.overlay)} if is_array(made) else {}
    places = made.totals.instances
    return tuple(
        ModuleFacts(
            name,
            places[name],
            made.netlists[name].flip_flop_bits,
            known[name].flip_flops if name in known else None,
            known[name].estimate if name in known else None,
        )
        for name in made.texts
    )


def deviations(made: "Package") -> Iterator[str]:
    """Yield what in the Verilog, or in what yosys made of it, is not as the specification has it."""
    rows: list[tuple[str, int, int | None]] = [(c.what, c.verilog, c.specified) for c in counts(made)]
    rows += [
        (f"flip-flop bits of {module.name}", module.flip_flop_bits, module.specified_flip_flop_bits)
        for module in modules(made)
        if is_array(made) and not module.name.startswith(SLICE)
    ]
    if made.synthesis is not None:
        there = synthesised(made.synthesis).estimate.dsp48e2
        rows.append(("synthesised DSP48E2", there, resources.column_pair(made.overlay).dsp48e2))
    yield from (
        f"{what}: {there}, by the specification {expected}" for what, there, expected in rows if there != expected
    )


def synthesised(cells: Any) -> Cells:
    """All cells of the synthesised pair of columns."""
    from skipopu.hdl.package import PAIR

    return total(cells, PAIR)


def percent(made: "Package") -> dict[str, float]:
    """The model of the whole in per cent of the board."""
    there = asdict(made.board.resources)
    return {name: 100 * n / there[name] for name, n in asdict(resources.pe_array(made.overlay)).items()}


def latency(made: "Package") -> dict[str, int]:
    """Cycles from a row's issue to its sum in PSUM, step by step."""
    return {step: getattr(made.overlay.pe_array, f"{step}_stages") for step in STEPS}


def summary(made: "Package") -> dict[str, Any]:
    """All of it, for JSON."""
    overlay = made.overlay
    return {
        "schema": SCHEMA,
        "block": made.block,
        "version": version("skipopu"),
        "overlay": {"name": overlay.name, "sha256": made.sha256},
        "board": made.board.name,
        "primitive": made.primitive,
        "clock": {"mhz": overlay.clock.core_mhz, "period_ns": made.period_ns},
        "latency": latency(made) | {"total": overlay.pe_latency} if is_array(made) else None,
        "ports": [asdict(port) for port in made.sheet.ports],
        "modules": [asdict(module) for module in modules(made)],
        "counts": [asdict(count) for count in counts(made)],
        "memory_bits": made.totals.memory_bits,
        "model": asdict(resources.pe_array(overlay)) if is_array(made) else None,
        "percent_of_board": percent(made) if is_array(made) else None,
        "synthesis": None if made.synthesis is None else _synthesis(made),
    }


def _synthesis(made: "Package") -> dict[str, Any]:
    """Two columns: the model and yosys."""
    cells = synthesised(made.synthesis)
    return {
        "what": "two neighbouring columns, hierarchy kept, each module once",
        "model": asdict(resources.column_pair(made.overlay)),
        "yosys": asdict(cells.estimate) | {"shift_registers": cells.shift_registers, "carry8": cells.carry8},
        "modules": {name: asdict(each.estimate) for name, each in (made.synthesis or {}).items()},
    }
