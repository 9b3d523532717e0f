"""Resources of a written overlay as rows of a table: cells and per cent of the board."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from skipopu.hdl.package_facts import share
from skipopu.hdl.package_parts import Part

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

CELLS = ("LUT", "FF", "DSP48E2", "BRAM36", "URAM288")


def rows_of_parts(made: "Package", parts: Iterable[Part]) -> list[tuple[str, ...]]:
    """Return a row a block: its name, every kind of cell with its share of the board, how they were found."""
    return [(part.name, *_cells(made, part), part.how) for part in parts]


def _cells(made: "Package", part: Part) -> list[str]:
    shares = share(made, part.cells).values()
    shown = [f"{number:,} ({percent:.1f} %)" for number, percent in zip(part.cells.values(), shares, strict=True)]
    return shown if part.lut_complete else [f"≥ {shown[0]}" if part.cells.lut else "?", *shown[1:]]
