"""What one simulation leaves behind: raw integers only; `skipopu.results` turns them into a report."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Retired:
    """The retire stream, one entry an instruction in program order; all cycles are core cycles.

    ``issue``: the engine took it from its queue head; ``first``: its semaphores were met and it began;
    ``last``: its last cycle of work. ``engine`` is a Block, ``opcode`` an Opcode of the program.
    """

    engine: Ints
    opcode: Ints
    step: Ints  # index into the trace's steps
    layer: Ints  # −1 outside the layers
    issue: Ints
    first: Ints
    last: Ints


@dataclass(frozen=True)
class KvCount:
    """Bytes of the KV memory system; stored and dense count K and V of every token and layer."""

    bytes_stored: int
    bytes_dense: int
    hbm_bytes_read: int  # as moved by the DMA, in the decode phase
    buffer_bytes_read: int  # from the invariance buffer, in the decode phase
    read_cycles: int  # core cycles of decode in which rounds streamed or waited for HBM, back-pressure aside
    rounds: int


@dataclass(frozen=True)
class Run:
    """One finished simulation.

    Shapes: ``ledger`` [Phase, Block, Cause] cycles; ``parts`` [Phase, Part, Cause] those of the PE array, by
    the part of a layer whose instruction is at work or next; ``traffic`` [Phase, Traffic] bytes moved; ``asked``
    likewise, bytes the program asks for; ``windows`` [window, Traffic] bytes in each ``window_cycles``
    core cycles (last one may be short); ``step_end`` [steps] cycle in which the step's last instruction
    retired; ``semaphores`` final counts; ``npe`` [NpeWork] what the NPE moved.
    """

    engine: str
    core_cycles: int
    prefill_cycles: int  # core_cycles − prefill_cycles are decode
    ledger: Ints
    parts: Ints
    traffic: Ints
    asked: Ints
    window_cycles: int
    windows: Ints
    step_end: Ints
    retired: Retired
    kv: KvCount
    semaphores: Ints
    npe: Ints
    macs: Ints  # [Phase] multiply-accumulates executed, padding not counted
    dram: dict[str, dict[str, int]]  # "hbm" | "ddr" → row_hits, row_misses, row_closed, refreshes
    warnings: tuple[str, ...] = ()
