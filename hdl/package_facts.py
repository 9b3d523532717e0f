"""What is known of a written block, beside what the specification says: to show, and to check."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from skipopu.hdl.package_blocks import OVERLAY, PE_ARRAY, WITH_SLICES
from skipopu.hdl.package_counts import SLICE, counts
from skipopu.hdl.package_hierarchy import hierarchy
from skipopu.hdl.package_parts import parts, synthesised_parts
from skipopu.hdl.synthesis import Cells, total
from skipopu.spec import resources
from skipopu.spec.resource_terms import Estimate

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

SCHEMA = 1
STEPS = ("broadcast", "multiply", "align", "tree", "convert", "accumulate")


@dataclass(frozen=True)
class ModuleFacts:
    """One module: places it stands in, flip-flop bits and model of one, where there is one; none for a slice."""

    name: str
    instances: int
    flip_flop_bits: int
    specified_flip_flop_bits: int | None
    model: Estimate | None


def is_array(made: "Package") -> bool:
    """There is a model of every module."""
    return made.block == PE_ARRAY


def has_slices(made: "Package") -> bool:
    """It has DSP slices, behavioural or primitive."""
    return made.block in WITH_SLICES


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
    if made.synthesis is not None and is_array(made):
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
    """The model of the whole array in per cent of the board."""
    return share(made, resources.pe_array(made.overlay))


def share(made: "Package", cells: Estimate) -> dict[str, float]:
    """Return ``cells`` in per cent of the board."""
    there = asdict(made.board.resources)
    return {name: 100 * n / there[name] for name, n in asdict(cells).items()}


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
        "hierarchy": [asdict(place) for place in hierarchy(made.netlists, made.block)],
        "parts": _parts(made) if made.block == OVERLAY else None,
    }


def _parts(made: "Package") -> list[dict[str, Any]]:
    """Blocks of the overlay with their share of the board."""
    return [asdict(part) | {"percent_of_board": share(made, part.cells)} for part in parts(made)]


def _synthesis(made: "Package") -> dict[str, Any]:
    """Of the overlay block by block; of the array two columns: the model and yosys."""
    if made.block == OVERLAY:
        what = "the whole overlay, vendor primitives, each module once, those below it as black boxes"
        modules = {name: asdict(each.estimate) for name, each in (made.synthesis or {}).items()}
        return {"what": what, "parts": [asdict(part) for part in synthesised_parts(made)], "modules": modules}
    cells = synthesised(made.synthesis)
    return {
        "what": "two neighbouring columns, hierarchy kept, each module once",
        "model": asdict(resources.column_pair(made.overlay)),
        "yosys": asdict(cells.estimate) | {"shift_registers": cells.shift_registers, "carry8": cells.carry8},
        "modules": {name: asdict(each.estimate) for name, each in (made.synthesis or {}).items()},
    }
