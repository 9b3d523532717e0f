"""Bytes a program asks the memories for, worked out from its instructions; the audit holds the moved bytes against it."""

import numpy as np
from numpy.typing import NDArray

from skipopu.program.isa import INSTRUCTION_BYTES, Opcode
from skipopu.program.program import Program
from skipopu.sim.work import Work
from skipopu.spec.ledger import Phase, Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES, Overlay

Ints = NDArray[np.int64]


def asked_traffic(program: Program, work: Work, overlay: Overlay) -> Ints:
    """Return bytes [Phase, Traffic] that the instructions of each phase ask for."""
    c = program.context
    vector = c.memory.vector_bytes
    word = overlay.ddr_bytes_per_cycle
    pair_share = vector // max(c.shape.dimensions.kv_heads // 2, 1)
    entries = c.demand.hbm_entries[work.kv_pass, np.maximum(work.layer, 0)]
    unit = np.where(work.traffic == Traffic.CONSTANTS, DDR_BEAT_BYTES, overlay.tile_bytes)
    words = -(-work.amount * unit // word) * word
    loads = np.isin(work.opcode, (Opcode.LOAD_ROWS, Opcode.LOAD_CONSTANTS))
    amounts = {
        Traffic.WEIGHTS: (work.opcode == Opcode.LOAD_WEIGHTS) * work.amount * overlay.hbm_bytes_per_cycle,
        Traffic.KV_READ: (work.opcode == Opcode.READ_KV) * (work.rows > 0) * entries * work.pairs * pair_share,
        Traffic.KV_WRITE: (work.opcode == Opcode.APPEND_KV) * work.rows * vector,
        Traffic.CONSTANTS: loads * (work.traffic == Traffic.CONSTANTS) * words,
        Traffic.ACTIVATIONS_READ: loads * (work.traffic == Traffic.ACTIVATIONS_READ) * words,
        Traffic.ACTIVATIONS_WRITE: (work.opcode == Opcode.STORE_ROWS) * words,
        Traffic.INSTRUCTIONS: _fetched(len(program)),
    }
    return np.array([[int(amounts[t][work.phase == phase].sum()) for t in Traffic] for phase in Phase], np.int64)


def _fetched(count: int) -> Ints:
    """Bytes fetched with each instruction: all of a burst's at its first one, whole DDR4 beats."""
    burst = AXI3_BURST_BEATS * DDR_BEAT_BYTES // INSTRUCTION_BYTES
    found = np.zeros(count, np.int64)
    starts = np.arange(0, count, burst)
    found[starts] = -(-np.minimum(burst, count - starts) * INSTRUCTION_BYTES // DDR_BEAT_BYTES) * DDR_BEAT_BYTES
    return found
