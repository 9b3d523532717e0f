"""The simulator beside the overlay's RTL: one run, with the cause of every block in every cycle kept."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.overlay_causes import CAUSE_BITS, Causes
from skipopu.numerics.jit import jit
from skipopu.program.program import Program
from skipopu.sim.machine import KvCache, Machine
from skipopu.sim.reference import RUNNING, run_slice, simulate
from skipopu.sim.run import Run
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block, Cause, Phase
from skipopu.spec.overlay import Overlay

Ints = NDArray[np.int64]
BLOCKS, CAUSES = len(Block), len(Cause)


@dataclass(frozen=True)
class Modelled:
    """What the simulator says of a program."""

    run: Run
    causes: Causes


def modelled(program: Program, overlay: Overlay, board: Board) -> Modelled:
    """Simulate a program; errors as of `skipopu.sim.reference.simulate`."""
    recorder = _Recorder()
    run = simulate(program, overlay, board, advance=recorder)
    return Modelled(run, recorder.causes())


class _Recorder:
    """`run_slice`, a cycle at a time: the cause of a block is where its row of the ledger grew."""

    def __init__(self) -> None:
        self._ledger = np.zeros((len(Phase), BLOCKS, CAUSES), np.int64)
        self._parts: list[Causes] = []

    def __call__(self, m: Machine, c: KvCache, windows: Ints, cycles: int) -> int:
        found, began = np.zeros(cycles, np.uint32), int(m.total.now)
        state: int = _record(m, c, windows, cycles, self._ledger, found)
        self._parts.append(found[: int(m.total.now) - began])
        return state

    def causes(self) -> Causes:
        """All cycles so far."""
        return np.concatenate(self._parts)


@jit
def _record(m: Machine, c: KvCache, windows: Ints, cycles: int, ledger: Ints, found: Causes) -> int:
    for n in range(cycles):
        phase = m.total.phase
        state = run_slice(m, c, windows, 1)
        found[n] = _grown(m.counts.ledger[phase], ledger[phase])
        if state != RUNNING:
            return state
    return RUNNING


@jit
def _grown(now: Ints, before: Ints) -> int:
    """Pack the cause of each block; ``before`` becomes ``now``."""
    packed = 0
    for block in range(BLOCKS):
        for cause in range(CAUSES):
            if now[block, cause] != before[block, cause]:
                packed |= cause << CAUSE_BITS * block
                before[block, cause] = now[block, cause]
    return packed
