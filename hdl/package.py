"""What `skipopu rtl` writes: a block's Verilog, a file a module, with what an engineer needs to use it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from skipopu.hdl.datasheet import Datasheet, datasheet
from skipopu.hdl.netlist import Netlist, Totals, read_netlist, totals
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

if TYPE_CHECKING:
    from skipopu.hdl.synthesis import Cells
    from skipopu.hdl.verilog import Block

BLOCKS = ("pe_array", "npe", "memory_system")
PE_ARRAY, NPE = BLOCKS[:2]
PAIR = "column_pair"  # the module that is synthesised: two columns, which share their slices
README, SUMMARY = "README.md", "summary.json"
SHOWN_HASH = 16


@dataclass(frozen=True)
class Package:
    """A block of an overlay as Verilog, with what is known of it.

    ``texts``: module → Verilog, children first. ``sha256``: of the overlay's parameters. ``synthesis``: cells
    of every module of a pair of columns, or None.
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

    @property
    def totals(self) -> Totals:
        """The hierarchy multiplied out."""
        return totals(self.netlists, self.block)

    @property
    def period_ns(self) -> float:
        """Clock period in whole picoseconds, rounded down."""
        return int(1e6 / self.overlay.clock.core_mhz) / 1e3

    def files(self) -> dict[str, str]:
        """File name → content: Verilog, list of it, constraints, README, summary."""
        from skipopu.hdl.package_facts import summary
        from skipopu.hdl.package_readme import readme

        verilog = {f"{name}.v": self._heading() + text for name, text in self.texts.items()}
        return verilog | {
            f"{self.block}.f": "".join(f"{name}\n" for name in verilog),
            f"{self.block}.xdc": self._constraints(),
            README: readme(self),
            SUMMARY: json.dumps(summary(self), indent=1, ensure_ascii=False) + "\n",
        }

    def _heading(self) -> str:
        return (
            f"// skipopu {version('skipopu')}, {self.block} of overlay {self.overlay.name},"
            f" parameters {self.sha256[:SHOWN_HASH]}\n"
        )

    def _constraints(self) -> str:
        clock = self.overlay.clock
        core = (
            f"# Core clock of overlay {self.overlay.name}: clock.core_mhz = {clock.core_mhz:g}; rounded down\n"
            f"create_clock -name clk -period {self.period_ns:.3f} [get_ports clk]\n"
        )
        if all(port.name != "hbm_clk" for port in self.sheet.ports):
            return core
        return core + (
            f"# HBM clock: clock.hbm_ratio = {clock.hbm_ratio} times as fast, from the same source, edges aligned\n"
            f"create_clock -name hbm_clk -period {self.period_ns / clock.hbm_ratio:.3f} [get_ports hbm_clk]\n"
        )


def package(block: str, overlay: Overlay, board: Board, sha256: str, *, primitive: bool = False) -> Package:
    """Generate ``block`` of ``overlay``; SpecError for a name that is no block.

    ``primitive``: the vendor's DSP48E2 instead of its behavioural model.
    """
    from skipopu.hdl.verilog import emit

    top = _block(block, overlay, primitive)
    texts = emit(top)
    netlists = read_netlist(texts)
    sheet = datasheet(top, netlists[block].ports)
    return Package(block, overlay, board, sha256, primitive, texts, sheet, netlists)


def _block(block: str, overlay: Overlay, primitive: bool) -> "Block":
    from skipopu.hdl.memory_system import MemorySystem
    from skipopu.hdl.npe.npe import Npe
    from skipopu.hdl.pe_array import PeArray

    if block not in BLOCKS:
        raise SpecError(f"rtl {block}: no such block; expected one of: {', '.join(BLOCKS)}")
    if block == PE_ARRAY:
        return PeArray(overlay=overlay, primitive=primitive)
    if primitive:
        raise SpecError(f"rtl {block}: --primitive is for DSP slices, of which it has none; leave it out")
    return Npe(overlay=overlay) if block == NPE else MemorySystem(overlay=overlay)


def with_synthesis(made: Package) -> Package:
    """Add what yosys makes of a pair of columns with vendor primitives; SynthesisError if it fails.

    SpecError for a block without columns.
    """
    if made.block != PE_ARRAY:
        raise SpecError(f"rtl {made.block}: --synth is for the columns of {PE_ARRAY}; leave it out")
    from skipopu.hdl.column_pair import ColumnPair
    from skipopu.hdl.synthesis import synthesise
    from skipopu.hdl.verilog import emit

    pair = ColumnPair(pe_array=made.overlay.pe_array, psum=made.overlay.psum, primitive=True)
    return dataclasses.replace(made, synthesis=synthesise(emit(pair), PAIR))


def names_of_files(block: str, listed: str | None) -> frozenset[str]:
    """Return the files of an earlier package whose list of files reads ``listed``; none without a list."""
    if listed is None:
        return frozenset()
    return frozenset((f"{block}.f", f"{block}.xdc", README, SUMMARY, *listed.split()))
