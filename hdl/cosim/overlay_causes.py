"""Causes of all blocks in a cycle, packed as the overlay's port has them; light, for the bench inside the simulator."""

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.ledger import Block, Cause

CAUSE_BITS = 4
Causes = NDArray[np.uint32]  # [cycle]: the cause of block b in bits 4·b and up


def unpacked(causes: Causes) -> NDArray[np.int64]:
    """Return [cycle, Block] Cause."""
    shifts = np.arange(len(Block), dtype=np.uint32) * CAUSE_BITS
    return (causes[:, None] >> shifts & ((1 << CAUSE_BITS) - 1)).astype(np.int64)


def ledger(causes: Causes) -> NDArray[np.int64]:
    """Return [Block, Cause] cycles; what is no Cause counts nowhere."""
    table = unpacked(causes)
    return np.stack([(table == cause).sum(axis=0) for cause in Cause], axis=1)


def cause_name(value: int) -> str:
    """Return the label of a cause; a number that is none stays one."""
    return Cause(value).label if value in Cause._value2member_map_ else f"cause {value}"
