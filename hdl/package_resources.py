"""Resources of a written overlay as rows of tables: cells, per cent of the board, the estimate beside synthesis."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skipopu.hdl.package_facts import share
from skipopu.hdl.package_parts import WHOLE, Part, parts, synthesised_parts
from skipopu.spec.resource_terms import Estimate

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

CELLS = ("LUT", "FF", "DSP48E2", "BRAM36", "URAM288")
COMPARED = ("LUT", "yosys", "of it", "FF", "yosys", "of it", "BRAM36", "yosys")  # heading of `rows_compared`
ALL = 100  # per cent


def rows_of_parts(made: "Package", parts: Iterable[Part]) -> list[tuple[str, ...]]:
    """Return a row a block: its name, every kind of cell with its share of the board, how they were found."""
    return [(part.name, *_cells(made, part), part.how) for part in parts]


def _cells(made: "Package", part: Part) -> list[str]:
    shares = share(made, part.cells).values()
    return [f"{number:,} ({percent:.1f} %)" for number, percent in zip(part.cells.values(), shares, strict=True)]


def rows_compared(made: "Package") -> list[tuple[str, ...]]:
    """Return a row a block: LUT and FF estimated, synthesised, and the ratio of the two; block RAM of both."""
    found = {part.name: part.cells for part in synthesised_parts(made)}
    return [(part.name, *_compared(part.cells, found[part.name])) for part in parts(made)]


def _compared(here: Estimate, there: Estimate) -> tuple[str, ...]:
    rams = f"{here.bram36:,}", f"{there.bram36:,}"
    return *_beside(here.lut, there.lut), *_beside(here.ff, there.ff), *rams


def _beside(estimated: int, synthesised: int) -> tuple[str, str, str]:
    return f"{estimated:,}", f"{synthesised:,}", f"{estimated / synthesised:.2f}" if synthesised else "-"


def does_not_fit(made: "Package") -> tuple[str, ...]:
    """Return the kinds of cell of which the whole needs more than the board has."""
    whole = next(part for part in parts(made) if part.name == WHOLE)
    return tuple(name for name, percent in share(made, whole.cells).items() if percent > ALL)
