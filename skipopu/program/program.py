"""Program: encoded instructions with the tags that tie them to the trace they were compiled from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.program.context import Context
from skipopu.program.instruction_check import check_instructions
from skipopu.program.isa import Words
from skipopu.program.status import Condition, text
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay


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


def validate_program(words: Words, overlay: Overlay, simulated: bool = False) -> None:
    """Check what the sequencer of ``overlay`` checks: encoding, alignment, HALT at the end, semaphores.

    ``simulated``: fields that only the simulator carries are valid. Raises SpecError in the words of the status that
    the hardware would show.
    """
    found = check_instructions(words, overlay, simulated)
    if found.code != Condition.OK:
        raise SpecError(text(found))
