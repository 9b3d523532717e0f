"""What the RTL of the PE array must do: bits from `numerics`, cycles from the simulator's own block files."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.pe_array_events import ISSUE, OPERATION, REQUEST, RESULTS, STREAMS, WEIGHTS
from skipopu.hdl.cosim.pe_array_stimulus import Operation
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.dot_product import dot_products
from skipopu.numerics.jit import jit
from skipopu.numerics.psum import accumulate
from skipopu.sim import causes
from skipopu.sim.ifm import has_room, request_row
from skipopu.sim.ker import advance, half_empty
from skipopu.sim.machine import IFM, KER, PE, PSUM, record
from skipopu.sim.pe_array import begin_operation, issue, obstacle
from skipopu.sim.psum import close_block, psum_ready, take_entry
from skipopu.spec.overlay import Overlay

WATCHDOG = 20_000  # cycles without an event: a deadlock

TIMING = ["int4_bytes", "fp16_bytes", "word_bytes", "ifm_rows", "row_latency", "broadcast", "pe_latency", "interleave"]


def expected_results(operations: Sequence[Operation], overlay: Overlay) -> NDArray[np.uint32]:
    """Entries in the order in which they leave, [entries, columns] bits of the PSUM format."""
    return np.concatenate([block.reshape(-1, block.shape[-1]) for o in operations for block in _blocks(o, overlay)])


def _blocks(operation: Operation, overlay: Overlay) -> Iterator[NDArray[np.uint32]]:
    arithmetic = arithmetic_of(overlay)
    for weights in operation.weights:
        tiles = zip(operation.activations, weights, strict=True)
        yield accumulate(np.stack([dot_products(a, w, arithmetic) for a, w in tiles]), arithmetic)


def simulated_trace(
    operations: Sequence[Operation], overlay: Overlay, patterns: Mapping[str, Pattern]
) -> NDArray[np.uint8]:
    """Events of every cycle until the last entry has left, as the simulator's blocks produce them."""
    work = np.array([[o.int4, o.rows, o.depth, o.blocks] for o in operations], np.int64)
    pe, ker, ifm, psum = (record(fields) for fields in (PE, KER, IFM, PSUM))
    timing = timing_of(overlay)
    stalls = np.stack([patterns[name] for name in STREAMS])
    trace, length = np.zeros(1 << 16, np.uint8), 0
    progress = np.array([0, 0, int((work[:, 3] * work[:, 1] * np.minimum(work[:, 2], overlay.psum.interleave)).sum())])
    offered = np.zeros(2, np.bool_)
    while progress[2]:
        if length == len(trace):
            if not trace[-WATCHDOG:].any():
                raise RuntimeError(f"the simulated PE array has stood still for {WATCHDOG} cycles")
            trace = np.concatenate([trace, np.zeros_like(trace)])
        length = _run(timing, work, pe, ker, ifm, psum, stalls, offered, progress, trace, length)
    return trace[:length]


def timing_of(overlay: Overlay) -> Any:
    """The numbers of the overlay that the blocks' timing depends on."""
    pe, found = overlay.pe_array, record(TIMING)
    values = (
        overlay.weight_tile_bytes(pe.columns, "int4"), overlay.weight_tile_bytes(pe.columns, "fp16"),
        overlay.hbm_bytes_per_cycle, overlay.ifm.rows, overlay.global_buffer.read_stages, pe.broadcast_stages,
        overlay.pe_latency, overlay.psum.interleave,
    )  # fmt: skip
    for name, value in zip(TIMING, values, strict=True):
        found[name] = value
    return found


@jit
def _run(
    p: Any, work: Any, pe: Any, ker: Any, ifm: Any, psum: Any, stalls: Any, offered: Any, progress: Any, trace: Any,
    start: int,
) -> int:  # fmt: skip
    """Step from cycle ``start`` to the end of ``trace`` or of the work, in the order of `reference.step`."""
    for now in range(start, len(trace)):
        at = now % stalls.shape[1]
        for source in range(2):
            offered[source] = offered[source] or stalls[source, at] == 1
        trace[now] = _results(psum, now, stalls[3, at], progress)
        trace[now] |= _rows(p, pe, ifm, now, stalls[2, at])
        trace[now] |= _array(p, work, pe, ker, ifm, psum, now, offered, progress)
        trace[now] |= _weights(p, work, pe, ker, now, offered, progress)
        if progress[2] == 0:
            return now + 1
    return len(trace)


@jit
def _results(psum: Any, now: int, ready: int, progress: Any) -> int:
    if not ready or not psum_ready(psum, now):
        return 0
    take_entry(psum, now)
    progress[2] -= 1
    return RESULTS


@jit
def _rows(p: Any, pe: Any, ifm: Any, now: int, ready: int) -> int:
    if not ready or not has_room(ifm, pe, p.ifm_rows):
        return 0
    request_row(ifm, now, p.row_latency)
    return REQUEST


@jit
def _array(p: Any, work: Any, pe: Any, ker: Any, ifm: Any, psum: Any, now: int, offered: Any, progress: Any) -> int:
    if pe.tile == pe.tiles:
        if not offered[0] or progress[0] == len(work):
            return 0
        offered[0] = False
        operation = work[progress[0]]
        progress[0] += 1
        begin_operation(pe, ker, ifm, now, operation[3], operation[2], operation[1])
        return OPERATION
    if obstacle(pe, ker, ifm, psum, now) != causes.BUSY:
        return 0
    if issue(pe, ker, ifm, now, p.broadcast):
        close_block(psum, now, p.pe_latency, pe.rows * min(pe.depth, p.interleave), 0)
    return ISSUE


@jit
def _weights(p: Any, work: Any, pe: Any, ker: Any, now: int, offered: Any, progress: Any) -> int:
    if pe.tile == pe.tiles or not half_empty(ker, pe, now):
        return 0
    need = p.int4_bytes if work[progress[0] - 1, 0] else p.fp16_bytes
    if ker.gear >= need:
        advance(ker, need, 0)
        return 0
    if not offered[1]:
        return 0
    offered[1] = False
    advance(ker, need, p.word_bytes)
    return WEIGHTS
