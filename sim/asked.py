"""Bytes a program asks the memories for, from its instructions alone; the audit compares what moved."""

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

    def of(*opcodes: Opcode) -> NDArray[np.bool_]:
        return np.isin(work.opcode, opcodes)

    c = program.context
    vector = c.memory.vector_bytes
    word = overlay.ddr_bytes_per_cycle
    pair_share = vector // max(c.shape.dimensions.kv_heads // 2, 1)
    entries = c.demand.hbm_entries[work.kv_pass, np.maximum(work.layer, 0)]
    unit = np.where(work.traffic == Traffic.CONSTANTS, DDR_BEAT_BYTES, overlay.tile_bytes)
    words = -(-work.amount * unit // word) * word
    loads = of(Opcode.LOAD_ROWS, Opcode.LOAD_CONSTANTS)
    amounts = {
        Traffic.WEIGHTS: of(Opcode.LOAD_WEIGHTS) * work.amount * overlay.hbm_bytes_per_cycle,
        Traffic.KV_READ: of(Opcode.READ_KV) * (work.rows > 0) * entries * work.pairs * pair_share,
        Traffic.KV_WRITE: of(Opcode.APPEND_KV) * work.rows * vector,
        Traffic.CONSTANTS: loads * (work.traffic == Traffic.CONSTANTS) * words,
        Traffic.ACTIVATIONS_READ: loads * (work.traffic == Traffic.ACTIVATIONS_READ) * words,
        Traffic.ACTIVATIONS_WRITE: of(Opcode.STORE_ROWS) * words,
        Traffic.INSTRUCTIONS: _fetched(len(program)),
    }
    sums = [[int(amounts[kind][work.phase == phase].sum()) for kind in Traffic] for phase in Phase]
    return np.array(sums, np.int64)


def _fetched(count: int) -> Ints:
    """Bytes fetched with each instruction: all of a burst's at its first one, whole DDR4 beats."""
    burst = AXI3_BURST_BEATS * DDR_BEAT_BYTES // INSTRUCTION_BYTES
    found = np.zeros(count, np.int64)
    starts = np.arange(0, count, burst)
    size = np.minimum(burst, count - starts) * INSTRUCTION_BYTES
    found[starts] = -(-size // DDR_BEAT_BYTES) * DDR_BEAT_BYTES
    return found
