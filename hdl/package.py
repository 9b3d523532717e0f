"""What `skipopu rtl` writes: a block's Verilog, a file a module, with what an engineer needs to use it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from skipopu.hdl.datasheet import Datasheet, datasheet
from skipopu.hdl.netlist import Netlist, Totals, read_netlist, totals
from skipopu.hdl.package_blocks import OVERLAY, PE_ARRAY, block_of
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

if TYPE_CHECKING:
    from skipopu.hdl.netlist_luts import Luts
    from skipopu.hdl.synthesis import Cells
    from skipopu.hdl.yosys import Progress

PAIR = "column_pair"  # of the PE array two columns are synthesised, which share their slices
README, SUMMARY = "README.md", "summary.json"
SHOWN_HASH = 16


@dataclass(frozen=True)
class Package:
    """A block of an overlay as Verilog, with what is known of it.

    ``texts``: module → Verilog, children first. ``sha256``: of the overlay's parameters. ``synthesis``: cells
    of every module, of the PE array those of a pair of columns; or None. ``luts``: of every module of the overlay.
    """

    block: str
    overlay: Overlay
    board: Board
    sha256: str
    primitive: bool
    texts: Mapping[str, str]
    sheet: Datasheet
    netlists: Mapping[str, Netlist]
    synthesis: "Mapping[str, Cells] | None" = None
    luts: "Mapping[str, Luts]" = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        """The hierarchy multiplied out."""
        return totals(self.netlists, self.block)

    @property
    def period_ns(self) -> float:
        """Clock period in whole picoseconds, rounded down."""
        return int(1e6 / self.overlay.clock.core_mhz) / 1e3

    def files(self) -> dict[str, str]:
        """File name → content: Verilog, list of it, constraints, README, summary; of the overlay a script too."""
        from skipopu.hdl.package_constraints import constraints
        from skipopu.hdl.package_facts import summary
        from skipopu.hdl.package_readme import readme
        from skipopu.hdl.package_tcl import vivado

        verilog = {f"{name}.v": self._heading() + text for name, text in self.texts.items()}
        script = {f"{self.block}.tcl": vivado(self)} if self.block == OVERLAY else {}
        return verilog | script | {
            f"{self.block}.f": "".join(f"{name}\n" for name in verilog),
            f"{self.block}.xdc": constraints(self),
            README: readme(self),
            SUMMARY: json.dumps(summary(self), indent=1, ensure_ascii=False) + "\n",
        }  # fmt: skip

    def _heading(self) -> str:
        return (
            f"// skipopu {version('skipopu')}, {self.block} of overlay {self.overlay.name},"
            f" parameters {self.sha256[:SHOWN_HASH]}\n"
        )


def package(
    block: str, overlay: Overlay, board: Board, sha256: str, *, primitive: bool = False,
    progress: "Progress | None" = None,
) -> Package:  # fmt: skip
    """Generate ``block`` of ``overlay``; SpecError for a name that is no block.

    ``primitive``: the vendor's DSP48E2 instead of its behavioural model. Of the overlay with its LUTs; SynthesisError
    if yosys cannot read it. ``progress`` is told modules read, first for what stands in them, then for LUTs.
    """
    from skipopu.hdl.emission import emitted
    from skipopu.hdl.netlist_words import read_luts

    top = block_of(block, overlay, primitive=primitive)
    texts = emitted(top)
    netlists = read_netlist(texts, progress)
    sheet = datasheet(top, netlists[block].ports)
    luts = read_luts(texts, progress) if block == OVERLAY else {}
    return Package(block, overlay, board, sha256, primitive, texts, sheet, netlists, luts=luts)


def with_synthesis(made: Package, progress: "Progress | None" = None) -> Package:
    """Add what yosys makes of it with vendor primitives, of the PE array of a pair of columns.

    SynthesisError if it fails; SpecError for a block that is neither PE array nor overlay.
    """
    from skipopu.hdl.column_pair import ColumnPair
    from skipopu.hdl.emission import emitted
    from skipopu.hdl.synthesis import synthesise

    if made.block not in (OVERLAY, PE_ARRAY):
        raise SpecError(f"rtl {made.block}: --synth is for {OVERLAY} and the columns of {PE_ARRAY}; leave it out")
    if made.block == OVERLAY:
        texts = emitted(block_of(OVERLAY, made.overlay, primitive=True))
    else:
        texts = emitted(ColumnPair(pe_array=made.overlay.pe_array, psum=made.overlay.psum, primitive=True))
    return dataclasses.replace(made, synthesis=synthesise(texts, progress))


def names_of_files(block: str, listed: str | None) -> frozenset[str]:
    """Return the files of an earlier package whose list of files reads ``listed``; none without a list."""
    if listed is None:
        return frozenset()
    return frozenset((f"{block}.f", f"{block}.xdc", f"{block}.tcl", README, SUMMARY, *listed.split()))
