"""What README.md of a written block says of its resources: counted, estimated and synthesised."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING

from skipopu.hdl.package_counts import counts
from skipopu.hdl.package_facts import percent
from skipopu.hdl.package_parts import Part, parts, synthesised_parts
from skipopu.hdl.package_resources import CELLS, COMPARED, does_not_fit, rows_compared, rows_of_parts
from skipopu.spec import resources
from skipopu.spec.resources_of_logic import PRICES

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

ESTIMATE = """\
In per cent of the {board}. LUTs are an estimate, by the prices below; *counted* in the Verilog are flip-flops, less
those of delay lines that become shift registers, slices of products (27 × 18 bits each) and memories (at the shapes
of UG573, those of no more than 64 words in LUTs, a copy a read port). *model*: from the overlay's parameters, every
register and piece of logic."""
NO_VIVADO = """\
No figure has seen placement. No price was fitted to a tool's result; three rules were added after a first comparison
with yosys: a choice between a value and one that does not matter is a wire; a product with a constant costs no LUT,
and a shifter pays for the bits in its reach; a memory of no more than 64 words is LUTs."""
SYNTHESISED = "Synthesised by yosys, module by module with vendor primitives, before packing and placement:"


def of_blocks(made: "Package") -> str:
    """Return the section of the overlay: block by block, what a LUT is counted for, and what yosys made of it."""
    over = does_not_fit(made)
    fits = f"Too much for the {made.board.name}: {', '.join(over)}." if over else f"It fits on the {made.board.name}."
    prices = table(("logic", "LUT", "source", "confidence"), map(astuple, PRICES))
    text = (
        f"## Resources\n\n{ESTIMATE.format(board=made.board.name)}\n\n{_blocks(made, parts(made))}\n{fits}\n"
        f"{NO_VIVADO}\n\n{prices}"
    )
    return text if made.synthesis is None else f"{text}\n{_synthesised(made)}"


def _blocks(made: "Package", found: Iterable[Part]) -> str:
    return table(("block", *CELLS, "how"), rows_of_parts(made, found))


def _synthesised(made: "Package") -> str:
    beside = table(("block", *COMPARED), rows_compared(made))
    return f"{SYNTHESISED}\n\n{_blocks(made, synthesised_parts(made))}\nThe estimate beside it:\n\n{beside}"


def of_array(made: "Package") -> str:
    """Return the section of the PE array: its model in per cent of the board."""
    shares, there = percent(made), asdict(made.board.resources)
    model = asdict(resources.pe_array(made.overlay))
    rows = [(n, f"{v:,}", f"{there[n]:,}", f"{shares[n]:.1f} %") for n, v in model.items()]
    return (
        "## Resources\n\nCounted from the parameters, not synthesised; no packing, no placement.\n\n"
        f"{table(('cell', 'model', made.board.name, 'share'), rows)}"
    )


def of_memories(made: "Package") -> str:
    """Return what was counted beside the specification; nothing where nothing was."""
    rows = [(count.what, f"{count.verilog:,}", f"{count.specified:,}") for count in counts(made)]
    if not rows:
        return ""
    return f"## Counted\n\n{table(('', 'Verilog', 'specified'), rows)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
