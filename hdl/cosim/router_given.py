"""What the router path is given in every cycle: operations, tokens, lookups where it matters and anywhere."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.router_shell import LOGITS, OPERATION, given_layout, names
from skipopu.hdl.cosim.router_stimulus import Operation, Sweep, Work
from skipopu.hdl.row_list import READERS
from skipopu.program.isa import Gate
from skipopu.spec.overlay import Overlay

Table = dict[str, NDArray[np.int64]]  # a column a field


def given_table(work: Work, overlay: Overlay, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return [cycles, fields of `given_layout`]; where nothing is meant there are random bits."""
    table = _anything(work.cycles, overlay, rng)
    for number, operation in enumerate(work.operations):
        until = work.operations[number + 1].start if number + 1 < len(work.operations) else work.cycles
        _near(table, operation, slice(operation.start, until), rng)
        _route(table, operation)
        _look_at_once(table, operation, overlay.npe.route_stages, rng)
    for sweep in work.sweeps:
        _sweep(table, sweep, work.operations[sweep.done - 1])
    return np.stack(list(table.values()), axis=1)


def _anything(cycles: int, overlay: Overlay, rng: np.random.Generator) -> Table:
    layout = given_layout(overlay)
    table = {name: rng.integers(0, 1 << field.width, cycles) for name, field in layout}
    assert tuple(table) == names(layout)
    rows, b = overlay.dataflow.row_block, overlay.bitmask
    table["start"][:] = table["logits_valid"][:] = 0
    for reader in READERS:
        table[f"{reader}_gate"] = rng.integers(0, len(Gate), cycles)
        table[f"{reader}_position"] = rng.integers(0, rows, cycles)
    table["bit_row"] = rng.integers(0, rows, cycles)
    table["scan_row"], table["scan_token"] = rng.integers(0, b.rows, cycles), rng.integers(0, b.tokens, cycles)
    return table


def _near(table: Table, operation: Operation, meanwhile: slice, rng: np.random.Generator) -> None:
    """Every other lookup asks for something the operation writes, now or later."""
    cycles = np.arange(meanwhile.start, meanwhile.stop)
    for name, value in (("scan_row", operation.layer), ("scan_token", operation.first_token)):
        chosen = cycles[rng.integers(0, 2, len(cycles)) == 1]
        spread = rng.integers(0, operation.rows, len(chosen)) if name == "scan_token" else 0
        table[name][chosen] = value + spread
    for name in ("bit_row", *(f"{reader}_position" for reader in READERS)):
        chosen = cycles[rng.integers(0, 2, len(cycles)) == 1]
        table[name][chosen] = rng.integers(0, operation.rows, len(chosen))


def _route(table: Table, operation: Operation) -> None:
    for name in OPERATION:
        table[name][operation.start] = getattr(operation, name)
    table["start"][operation.start] = table["logits_valid"][operation.cycles] = 1
    table["row"][operation.cycles] = np.arange(operation.rows)
    for k, name in enumerate(LOGITS):
        table[name][operation.cycles] = operation.logits[:, k]


def _look_at_once(table: Table, operation: Operation, stages: int, rng: np.random.Generator) -> None:
    """Ask for an entry, a bit, a bit of the bitmask in the first cycle it is there, or in the one before."""
    rows = np.arange(operation.rows)
    for reader, gate in zip(READERS, sorted(operation.executes, key=lambda _: rng.random()), strict=False):
        entries = np.cumsum(operation.executes[gate]) - 1
        at = _first(operation, stages, rng)
        table[f"{reader}_gate"][at], table[f"{reader}_mask"][at] = gate + Gate.ATTENTION, operation.mask
        table[f"{reader}_position"][at] = np.maximum(entries, 0)
    at = _first(operation, stages, rng)
    table["bit_mask"][at], table["bit_row"][at] = operation.mask, rows
    at = _first(operation, stages, rng)
    table["scan_enable"][at], table["scan_row"][at] = 1, operation.layer
    table["scan_token"][at] = operation.first_token + rows


def _first(operation: Operation, stages: int, rng: np.random.Generator) -> NDArray[np.int64]:
    found: NDArray[np.int64] = operation.cycles + stages - rng.integers(0, 2, operation.rows)
    return found


def _sweep(table: Table, sweep: Sweep, last: Operation) -> None:
    at, positions = slice(sweep.start, sweep.start + sweep.length), np.arange(sweep.length)
    for reader, gate in zip(READERS, (Gate.ATTENTION, Gate.FFN), strict=True):
        table[f"{reader}_gate"][at], table[f"{reader}_mask"][at] = gate, sweep.mask
        table[f"{reader}_position"][at] = positions
    table["bit_mask"][at], table["bit_row"][at] = sweep.mask, positions
    table["scan_enable"][at], table["scan_row"][at] = 1, last.layer
    table["scan_token"][at] = last.first_token + np.minimum(positions, last.rows - 1)
