"""Bytes that crossed the memory ports, by what they were for, beside those that the simulator counts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import AR, AW
from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.spec.ledger import Traffic

Ints = NDArray[np.int64]


def moved_bytes(
    events: Ints, names: Sequence[str], channel: str, beat_bytes: int, reads: Sequence[int], write: int
) -> Ints:
    """Return [Traffic] bytes of the bursts in a memory's log with columns ``names``.

    ``channel`` is the column with AR, AW or W; ``reads`` is the kind of each AXI ID, ``write`` that of writes.
    """
    kind, size = events[:, names.index(channel)], events[:, names.index("beats")] * beat_bytes
    identifiers = events[:, names.index("ID")]
    found = np.zeros(len(Traffic), np.int64)
    found[write] += size[kind == AW].sum()
    for identifier, of in enumerate(reads):
        found[of] += size[(kind == AR) & (identifiers == identifier)].sum()
    return found


def together(moved: Ints) -> Ints:
    """Count constants as activations that are read: both go through one engine under one AXI ID."""
    found = moved.copy()
    found[Traffic.ACTIVATIONS_READ] += found[Traffic.CONSTANTS]
    found[Traffic.CONSTANTS] = 0
    return found


def different_traffic(model: Ints, rtl: Ints) -> OverlayDifference | None:
    """Compare bytes [Traffic]."""
    for kind in Traffic:
        if model[kind] != rtl[kind]:
            values = str(int(model[kind])), str(int(rtl[kind]))
            return OverlayDifference("bytes", None, f"{kind.label}, moved", *values)
    return None
