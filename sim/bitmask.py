"""Bitmask: which rows of a row block execute, as bits and as lists, and which tokens did in a layer.

What the logits of a cycle change stands on its way for ``npe.route_stages`` cycles; then it can be read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import jit
from skipopu.program.isa import Gate
from skipopu.sim.machine import Record, record
from skipopu.spec.overlay import Overlay

MASKS = 2  # registers
GATES = 2  # with a router: attention, ffn
PLACES = 64  # changes on their way: two a cycle, at most, for route_stages cycles; spec bounds those by 16

ROUTING = [
    "stages",
    "gates", "mask", "layer", "first_token",  # of the operation in force
    "head", "tail",  # of the ring of changes
    ("due", "i8", (PLACES,)),  # first cycle in which it can be read
    ("begins", "i8", (PLACES,)),  # 1: an operation begins, ``row`` is the rows of its block; 0: a row is routed
    ("row", "i8", (PLACES,)), ("executes", "i8", (PLACES,)),  # a bit a gate
    ("of_gates", "i8", (PLACES,)), ("of_mask", "i8", (PLACES,)),
    ("of_layer", "i8", (PLACES,)), ("of_token", "i8", (PLACES,)),
]  # fmt: skip


class RowMasks(NamedTuple):
    """Mask registers, row lists and the bitmask; what can be read as of the last `settle`."""

    routing: Record
    listed: NDArray[np.int64]  # [gate, mask, position]: rows; from the count on those of earlier operations
    counts: NDArray[np.int64]  # [gate, mask]
    rows: NDArray[np.int64]  # [mask]: of the block
    bits: NDArray[np.bool_]  # [gate, mask, row]
    executed: NDArray[np.bool_]  # [layer, token]


def new_row_masks(overlay: Overlay) -> RowMasks:
    """Return the registers of an overlay, nothing routed."""
    routing, block = record(ROUTING), (GATES, MASKS, overlay.dataflow.row_block)
    routing.stages = overlay.npe.route_stages
    return RowMasks(
        routing, np.zeros(block, np.int64), np.zeros((GATES, MASKS), np.int64), np.zeros(MASKS, np.int64),
        np.zeros(block, np.bool_), np.zeros((overlay.bitmask.rows, overlay.bitmask.tokens), np.bool_),
    )  # fmt: skip


@jit
def begin_route(b: RowMasks, now: int, gates: int, mask: int, rows: int, layer: int, first_token: int) -> None:
    """An operation, from now on: ``gates`` (bit 0 attention, bit 1 ffn) route ``rows`` rows into register ``mask``."""
    r = b.routing
    r.gates, r.mask, r.layer, r.first_token = gates, mask, layer, first_token
    _push(b, now, 1, rows, 0)


@jit
def route_row(b: RowMasks, now: int, row: int, executes: int) -> None:
    """The logits of a row are there; ``executes`` has a bit a gate."""
    _push(b, now, 0, row, executes)


@jit
def row_count(b: RowMasks, now: int, gate: int, mask: int) -> int:
    """Rows of a register that execute."""
    settle(b, now)
    if gate == Gate.ALL:
        return b.rows[mask]  # type: ignore[no-any-return]
    return b.counts[gate - Gate.ATTENTION, mask]  # type: ignore[no-any-return]


@jit
def row_at(b: RowMasks, now: int, gate: int, mask: int, position: int) -> int:
    """Row of the block at a position of a register's list."""
    settle(b, now)
    if gate == Gate.ALL:
        return position
    return b.listed[gate - Gate.ATTENTION, mask, position]  # type: ignore[no-any-return]


@jit
def row_bits(b: RowMasks, now: int, mask: int, row: int) -> int:
    """Bits of a row in a register, attention's lowest."""
    settle(b, now)
    return b.bits[0, mask, row] | b.bits[1, mask, row] << 1  # type: ignore[no-any-return]


@jit
def token_executed(b: RowMasks, now: int, layer: int, token: int) -> bool:
    """Whether the token's attention executed in the layer."""
    settle(b, now)
    return b.executed[layer, token]  # type: ignore[no-any-return]


@jit
def settle(b: RowMasks, now: int) -> None:
    """Make the changes that can be read now, oldest first."""
    r = b.routing
    while r.head < r.tail and r.due[r.head % PLACES] <= now:
        place = r.head % PLACES
        for gate in range(GATES):
            if r.of_gates[place] >> gate & 1:
                _change(b, place, gate)
        if r.begins[place]:
            b.rows[r.of_mask[place]] = r.row[place]
        elif r.of_gates[place] & 1:
            b.executed[r.of_layer[place], r.of_token[place]] = r.executes[place] & 1
        r.head += 1


@jit
def _push(b: RowMasks, now: int, begins: int, row: int, executes: int) -> None:
    settle(b, now)
    r = b.routing
    place = r.tail % PLACES
    r.due[place], r.begins[place], r.row[place], r.executes[place] = now + r.stages, begins, row, executes
    r.of_gates[place], r.of_mask[place] = r.gates, r.mask
    r.of_layer[place], r.of_token[place] = r.layer, r.first_token + row
    r.tail += 1


@jit
def _change(b: RowMasks, place: int, gate: int) -> None:
    """One gate's list and bit."""
    r, mask = b.routing, b.routing.of_mask[place]
    if r.begins[place]:
        b.counts[gate, mask] = 0
        return
    row, executes = r.row[place], r.executes[place] >> gate & 1
    b.bits[gate, mask, row] = executes
    if executes:
        b.listed[gate, mask, b.counts[gate, mask]] = row
        b.counts[gate, mask] += 1
