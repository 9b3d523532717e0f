"""Program: encoded instructions with the tags that tie them to the trace they were compiled from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.program.builder import OPCODE_ENGINE
from skipopu.program.context import Context
from skipopu.program.isa import COLUMN, ENGINES, Fields, Opcode, Words, decode
from skipopu.spec.error import SpecError


@dataclass(frozen=True)
class Program:
    """What simulator and RTL run.

    ``words`` [n, 4]; ``tags`` [n, 3]: trace step, layer (−1 outside the layers) and first token of the row
    block, for the retire stream and to look up row masks; ``context``: trace, shape, memory map and K/V
    schedule; ``parts`` [n]: the Part of a layer an instruction belongs to, for the ledger.
    """

    words: Words
    tags: NDArray[np.int64]
    context: Context
    parts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.words)


def validate_program(words: Words) -> None:
    """Check that the program halts once, at its end, and signals every semaphore before waiting for it.

    Raises SpecError naming the instruction.
    """
    fields = decode(words)
    halts = np.flatnonzero(fields[:, 0] == Opcode.HALT)
    if halts.tolist() != [len(fields) - 1]:
        raise SpecError(
            f"program: halt at {halts.tolist()}; expected one, at the last instruction {len(fields) - 1}"
        )
    _check_semaphores(fields)


def _check_semaphores(fields: Fields) -> None:
    engine = np.array([OPCODE_ENGINE[Opcode(op)] for op in range(max(Opcode) + 1)])[fields[:, 0]]
    wait, signal = fields[:, COLUMN["wait"]], fields[:, COLUMN["signal"]]
    for source in range(len(ENGINES)):
        for target in range(len(ENGINES)):
            given = np.cumsum((engine == source) & (signal >> target & 1 == 1))
            taken = np.cumsum((engine == target) & (wait >> source & 1 == 1))
            name = f"{ENGINES[source].label}→{ENGINES[target].label}"
            early = np.flatnonzero(taken > given)
            if early.size:
                raise SpecError(
                    f"instruction {early[0]}: semaphore {name} underflow, waits before anything signals it"
                )
            if given.size and given[-1] != taken[-1]:
                raise SpecError(f"program: semaphore {name} ends at {given[-1] - taken[-1]}; expected 0")
