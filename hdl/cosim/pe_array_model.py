"""When the PE array moves: the simulator's own block files, with streams that stall round them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.pe_array_cycle import run
from skipopu.hdl.cosim.pe_array_events import NO_WEIGHTS, STREAMS
from skipopu.hdl.cosim.pe_array_stimulus import Operation
from skipopu.hdl.cosim.pe_array_streams import announcements, chunk_rules
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.sim.machine import IFM, KER, PE, PSUM, record
from skipopu.spec.overlay import FP16_BYTES, Overlay
from skipopu.spec.tile_source import TileSource

WATCHDOG = 20_000  # cycles without an event: a deadlock
MOVES = NO_WEIGHTS - 1  # the lower events
REST = 2  # cycles behind the last event, in which nothing may move

TIMING = ["ifm_rows", "row_latency", "broadcast", "pe_latency"]
FIELDS = ["source", "rows", "depth", "blocks", "dynamic", "results", "tile_bytes", "pop_bytes"]
STATE = [
    "operation", "active", "left",  # next operation; 1: one is at work; entries still to leave
    "pushed", "told",  # announcements that stand at the port or have, that are taken
    "chunk",  # next one of K/V
    "offers_operation", "offers_weights", "offers_chunk", "offers_word",
]  # fmt: skip


class Given(NamedTuple):
    """What stands at the ports, and when."""

    work: Any  # [operation], `FIELDS`
    needs: NDArray[np.int64]  # [chunk]: announcements before it
    ends: NDArray[np.bool_]  # [chunk]: it is its operation's last
    announced_end: NDArray[np.bool_]  # [announcement]
    stalls: NDArray[np.uint8]  # [stream, cycle]


class Model(NamedTuple):
    """The simulator's records of the block."""

    p: Any
    state: Any
    pe: Any
    ker: Any
    ifm: Any
    psum: Any


def simulated_trace(
    operations: Sequence[Operation], overlay: Overlay, patterns: Mapping[str, Pattern]
) -> NDArray[np.uint16]:
    """Events of every cycle until the last operation is over and its last entry has left."""
    given = Given(
        _work(operations, overlay), *chunk_rules(operations), np.array(announcements(operations), np.bool_),
        np.stack([patterns[name] for name in STREAMS]),
    )  # fmt: skip
    model = Model(_timing(overlay), *(record(fields) for fields in (STATE, PE, KER, IFM, PSUM)))
    model.state.left = sum(o.all_blocks * o.block_entries for o in operations)
    trace, length = np.zeros(1 << 16, np.uint16), 0
    while model.state.operation < len(operations) or model.state.active or model.state.left:
        if length == len(trace):
            if not (trace[-WATCHDOG:] & MOVES).any():
                raise RuntimeError(f"the simulated PE array has stood still for {WATCHDOG} cycles")
            trace = np.concatenate([trace, np.zeros_like(trace)])
        length = run(model, given, trace, length)
    return np.concatenate([trace[:length], np.zeros(REST, trace.dtype)])


def _work(operations: Sequence[Operation], overlay: Overlay) -> Any:
    work = np.zeros(len(operations), [(name, np.int64) for name in FIELDS]).view(np.recarray)
    pop = {
        TileSource.WEIGHT: overlay.hbm_bytes_per_cycle, TileSource.KV: overlay.chunk_bytes,
        TileSource.CONSTANT: overlay.ker.constant_bytes_per_cycle, TileSource.NO_TILE: 0,
    }  # fmt: skip
    for i, o in enumerate(operations):
        dynamic = o.kind == "keys"
        work[i] = (
            o.source, o.rows, o.depth, o.blocks if dynamic else o.all_blocks, dynamic, o.block_entries,
            _tile_bytes(o, overlay), pop[o.source],
        )  # fmt: skip
    return work


def _tile_bytes(o: Operation, overlay: Overlay) -> int:
    """Bytes of a tile as its stream brings it; of K/V those of a lane."""
    pe = overlay.pe_array
    return {
        "weights": overlay.weight_tile_bytes(pe.columns, "int4" if o.tiles.int4 else "fp16"),
        "keys": overlay.dataflow.packed_heads * pe.dot_length * FP16_BYTES, "values": o.tiles.width * FP16_BYTES,
        "constants": o.tiles.width * pe.dot_length * FP16_BYTES, "nothing": 0,
    }[o.kind]  # fmt: skip


def _timing(overlay: Overlay) -> Any:
    """The numbers of the overlay that the blocks' timing depends on."""
    found = record(TIMING)
    values = (
        overlay.ifm.rows, overlay.global_buffer.read_stages, overlay.pe_array.broadcast_stages, overlay.pe_latency
    )  # fmt: skip
    for name, value in zip(TIMING, values, strict=True):
        found[name] = value
    return found
