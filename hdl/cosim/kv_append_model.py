"""What the RTL of KV append must do: the simulator's own functions, stepped with random neighbours."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.kv_append_cycle import PROGRESS, run_append
from skipopu.hdl.cosim.kv_append_events import COLUMNS, STREAMS
from skipopu.hdl.cosim.kv_append_stimulus import Append, Program
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.numerics.kv_rounds import place
from skipopu.numerics.kv_schedule import Limits, new_schedule
from skipopu.sim.machine import APPEND, KvCache, overlay_parameters, record
from skipopu.spec.overlay import Overlay

SLICE = 1 << 14  # cycles by which the trace grows
NO_LIMITS = Limits(1, 1, 0, 0, 1, False, False)


@dataclass
class Simulated:
    """All that happens, in the order of time."""

    trace: NDArray[np.int64]  # [cycle, COLUMNS]
    drives: NDArray[np.uint8]  # [cycle]: bits of DRIVES
    begins: list[int] = field(default_factory=list)  # cycle of each operation
    work: list[tuple[Program, Append]] = field(default_factory=list)


def simulate(overlay: Overlay, work: Iterable[Program], stalls: Mapping[str, Pattern], bursts: int) -> Simulated:
    """Run programs until at least ``bursts`` write bursts were asked for."""
    machine = _Machine(overlay, stalls)
    for program in work:
        machine.run(program)
        if machine.progress.bursts >= bursts:
            break
    now = machine.progress.now
    return Simulated(machine.trace[:now], machine.drives[:now], machine.begins, machine.work)


class _Machine:
    """The records that live as long as the run."""

    def __init__(self, overlay: Overlay, stalls: Mapping[str, Pattern]) -> None:
        self.p, self.append, self.progress = overlay_parameters(overlay), record(APPEND), record(PROGRESS)
        self.stalls = np.stack([stalls[name] for name in STREAMS])
        self.trace, self.drives = np.zeros((0, len(COLUMNS)), np.int64), np.zeros(0, np.uint8)
        self.begins: list[int] = []
        self.work: list[tuple[Program, Append]] = []

    def run(self, program: Program) -> None:
        """All operations; the first cycle of the first one is a restart."""
        p = self.p
        p.vector_bytes = p.stride_bytes = program.vector
        p.pair_bytes, p.kv_base, p.slots = program.vector // program.pairs, program.base, program.slots
        layers, tokens = program.executed.shape
        sources = np.where(program.executed, np.arange(layers)[:, None], -1).astype(np.int16)
        c = KvCache(NO_LIMITS, place(sources, p.ports), new_schedule(tokens, NO_LIMITS), np.zeros((1, 1), np.int32))
        self.progress.restart = 1
        for each in program.appends:
            self._step(c, each)
            self.begins.append(int(self.progress.first))
            self.work.append((program, each))

    def _step(self, c: KvCache, each: Append) -> None:
        executed = [each.layer, each.value, each.first, len(each.bits), each.rows.sum()]
        operation = np.array([*executed, each.gate, each.mask], np.int64)
        bits, done = each.rows.astype(np.int64), False
        self.progress.first = -1
        while not done:
            if self.progress.now == len(self.trace):
                self.trace, self.drives = _longer(self.trace), _longer(self.drives)
            tables = (self.stalls, self.trace, self.drives)
            done = run_append(self.p, self.append, c, self.progress, operation, bits, *tables)


def _longer(table: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([table, np.zeros((SLICE + len(table), *table.shape[1:]), table.dtype)])
