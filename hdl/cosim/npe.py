"""Co-simulation of the NPE: its result side, its operand side with the row statistics, and all of it together."""

from dataclasses import dataclass
from pathlib import Path

from skipopu.hdl.cosim import npe_joined, npe_operands, npe_results
from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.npe_joined import NpeJoinedRun
from skipopu.hdl.cosim.npe_operands import NpeOperandsRun
from skipopu.hdl.cosim.npe_results import NpeResultsRun
from skipopu.spec.overlay import Overlay

PARTS = ("results", "operands", "joined")
TILES_A_BLOCK = 50  # of every function, for each row block that goes through the whole


@dataclass(frozen=True)
class NpeRun:
    """Both sides, the whole, and what they come to together."""

    results: NpeResultsRun
    operands: NpeOperandsRun
    joined: NpeJoinedRun

    @property
    def overlay(self) -> str:
        """Name of the overlay."""
        return self.results.overlay

    @property
    def cycles(self) -> int:
        """Cycles in which every event was compared, of both sides."""
        return self.results.cycles + self.operands.cycles

    @property
    def build_seconds(self) -> float:
        """Of all programs."""
        return self.results.build_seconds + self.operands.build_seconds + self.joined.build_seconds

    @property
    def run_seconds(self) -> float:
        """Of all runs, models included."""
        return self.results.run_seconds + self.operands.run_seconds + self.joined.run_seconds

    @property
    def difference(self) -> Difference | None:
        """The first one of the result side, else of the operand side, else of the whole."""
        return self.results.difference or self.operands.difference or self.joined.difference


def cosimulate(overlay: Overlay, tiles: int, seed: int, *, waves: Path | None = None) -> NpeRun:
    """Run at least ``tiles`` words or row tiles of every function through RTL, simulator and numerics.

    Then row blocks go through the whole NPE. Waves go to ``results``, ``operands`` and ``joined`` under ``waves``.
    """
    aside = {part: waves / part if waves else None for part in PARTS}
    return NpeRun(
        npe_results.cosimulate(overlay, tiles, seed, waves=aside["results"]),
        npe_operands.cosimulate(overlay, tiles, seed, waves=aside["operands"]),
        npe_joined.cosimulate(overlay, -(-tiles // TILES_A_BLOCK), seed, waves=aside["joined"]),
    )
