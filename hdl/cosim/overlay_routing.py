"""Decisions of the routers: what the overlay decided, token by token, beside the trace."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.hdl.cosim.overlay_probes import COLUMNS
from skipopu.program.isa import COLUMN, Gate, Opcode, unpack
from skipopu.program.program import Program

GATES = (Gate.ATTENTION, Gate.FFN)  # bits of an entry, the lowest first

Ints = NDArray[np.int64]


def read_routing(noted: Ints) -> Ints:
    """Return [decision, COLUMNS] of what the bench noted; the bit of a gate that is not decided means nothing."""
    found = noted.reshape(-1, len(COLUMNS)).copy()
    found[:, COLUMNS.index("executes")] &= found[:, COLUMNS.index("gates")]
    return found


def expected_routing(program: Program) -> Ints:
    """Return [decision, COLUMNS] in program order: gates that are decided, their bits, row of the block."""
    fields, _ = unpack(program.words)
    found = [np.zeros((0, len(COLUMNS)), np.int64)]
    for index in np.flatnonzero(fields[:, 0] == Opcode.ROUTE):
        gates = _gates(int(fields[index, COLUMN["columns"]]), int(fields[index, COLUMN["gate"]]))
        if gates:
            found.append(_decisions(program, int(index), int(fields[index, COLUMN["rows"]]), gates))
    return np.concatenate(found)


def _gates(columns: int, gate: int) -> int:
    """Two logits decide the gate of the instruction, four decide both."""
    if columns == 0:
        return 0
    return 0b11 if columns > 2 else 1 << GATES.index(Gate(gate))


def _decisions(program: Program, index: int, rows: int, gates: int) -> Ints:
    layer, first = (int(n) for n in program.tags[index, 1:3])
    trace, tokens = program.context.trace, np.arange(first, first + rows)
    bits = trace.rows("q")[layer, tokens].astype(np.int64) | trace.rows("ffn")[layer, tokens].astype(np.int64) << 1
    return np.stack([np.full(rows, gates), bits & gates, np.arange(rows)], axis=1)


def different_routing(model: Ints, rtl: Ints) -> OverlayDifference | None:
    """Compare both in order."""
    common = min(len(model), len(rtl))
    places = np.argwhere(model[:common] != rtl[:common])
    if len(places):
        at, column = (int(n) for n in places[0])
        values = str(int(model[at, column])), str(int(rtl[at, column]))
        return OverlayDifference("routing", None, f"decision {at}, {COLUMNS[column]}", *values)
    if len(model) == len(rtl):
        return None
    return OverlayDifference("routing", None, "decisions", str(len(model)), str(len(rtl)))
