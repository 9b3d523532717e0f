"""Finished row lists, masks and bits against their definition in NumPy: neither simulator nor numerics are asked."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.router_stimulus import Operation, Sweep, Work, last_routed
from skipopu.hdl.row_list import READERS

Answers = dict[str, NDArray[np.int64]]  # of the RTL, [cycles] each


def list_difference(work: Work, found: NDArray[np.int64], signals: Sequence[str]) -> Difference | None:
    """Return the first difference in what the sweeps of ``work`` read, ``found`` [cycles, signals]."""
    answers = dict(zip(signals, found.T, strict=True))
    for number, sweep in enumerate(work.sweeps):
        for gate, reader in enumerate(READERS):
            last = last_routed(work.operations, sweep.done, sweep.mask, gate)
            difference = last and _register(f"sweep {number} place", sweep, last.executes[gate], gate, reader, answers)
            if difference:
                return difference
        difference = _bits(f"sweep {number} token", sweep, work.operations[sweep.done - 1], answers)
        if difference:
            return difference
    return None


def _register(
    kind: str, sweep: Sweep, executes: NDArray[np.bool_], gate: int, reader: str, answers: Answers
) -> Difference | None:
    """Count, list and mask of a gate."""
    rows = np.flatnonzero(executes)
    at, bits = slice(sweep.start, sweep.start + len(rows)), slice(sweep.start, sweep.start + len(executes))
    count = answers[f"{reader}_count"][sweep.start]
    return (
        _same(kind, np.array([len(rows)]), np.array([count]), f"{reader}_count")
        or _same(kind, rows, answers[f"{reader}_row"][at], f"{reader}_row")
        or _same(kind, executes.astype(np.int64), answers["row_bits"][bits] >> gate & 1, "row_bits")
    )


def _bits(kind: str, sweep: Sweep, last: Operation, answers: Answers) -> Difference | None:
    """The bitmask's bits of the last operation, if it had any for it; they come a cycle after they are asked."""
    length = min(last.rows, sweep.length)
    if 0 not in last.executes:
        return None
    found = answers["scan_here"][sweep.start + 1 : sweep.start + 1 + length]
    return _same(kind, last.executes[0][:length].astype(np.int64), found, "scan_here")


def _same(kind: str, expected: NDArray[np.int64], found: NDArray[np.int64], signal: str) -> Difference | None:
    return first_difference(kind, expected[:, None], found[:, None], (signal,))
