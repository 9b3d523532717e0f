"""What the RTL of the memory system must do: the simulator's own functions, stepped beside the AXI memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import EVENT, new_axi_memory
from skipopu.hdl.cosim.kv_buffer_cycle import PROGRESS, REQUESTS, run_operation
from skipopu.hdl.cosim.kv_buffer_events import STREAMS
from skipopu.hdl.cosim.kv_buffer_stimulus import Sequence
from skipopu.hdl.cosim.stalls import Pattern
from skipopu.numerics.kv_schedule import new_schedule
from skipopu.sim.error import SimulationError
from skipopu.sim.machine import KV, KvCache, new_ports, overlay_parameters, record
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

WATCHDOG = 50_000  # cycles without an event: a deadlock
LEAST = 12  # sequences: what is seldom has happened
SLICE = 1 << 14  # cycles by which the trace grows
BURSTS = 1 << 14  # bursts of an operation, at most


@dataclass(frozen=True)
class Rounds:
    """The entries of an operation in round order."""

    token: NDArray[np.int32]
    lane: NDArray[np.int32]
    first: NDArray[np.int32]  # first[r] … first[r + 1]: entries of round r
    read: NDArray[np.int32]  # ring number each is read from, negative: it comes from HBM
    kept: NDArray[np.int32]  # ring number each is kept under, negative: it is not
    valid: bool  # the buffer was, as the operation began
    in_order: bool  # else from queues


@dataclass
class Simulated:
    """All that happens, in the order of time."""

    trace: NDArray[np.uint8]  # [cycle, (events, cause)]
    drives: NDArray[np.uint8]  # [cycle]: what the core does
    bursts: NDArray[np.int64]  # [burst, EVENT]
    sequences: list[Sequence] = field(default_factory=list)
    rounds: list[list[Rounds]] = field(default_factory=list)  # of each operation of each sequence


def simulate(
    overlay: Overlay, board: Board, work: Iterable[Sequence], stalls: Mapping[str, Pattern], bursts: int
) -> Simulated:
    """Step at least ``LEAST`` sequences, and until at least ``bursts`` AXI bursts have been asked for."""
    machine, sequences, rounds = _Machine(overlay, board, stalls), [], []
    for sequence in work:
        sequences.append(sequence)
        rounds.append(list(machine.run(sequence)))
        if len(sequences) >= LEAST and sum(map(len, machine.bursts)) >= bursts:
            break
    now = machine.progress.now
    return Simulated(machine.trace[:now], machine.drives[:now], np.concatenate(machine.bursts), sequences, rounds)


class _Machine:
    """The records that live as long as the run."""

    def __init__(self, overlay: Overlay, board: Board, stalls: Mapping[str, Pattern]) -> None:
        self.overlay, self.p = overlay, overlay_parameters(overlay)
        self.kv, self.requests, self.progress = record(KV), record(REQUESTS), record(PROGRESS)
        self.kv.pushed = -1
        self.ports, _ = new_ports(overlay)
        self.memory = new_axi_memory(board, overlay.dma.hbm_ports, stalls, 0, BURSTS)
        self.stalls = np.stack([stalls[name] for name in STREAMS])
        self.trace, self.drives = np.zeros((0, 2), np.uint8), np.zeros(0, np.uint8)
        self.bursts = [np.zeros((0, len(EVENT)), np.int64)]

    def run(self, sequence: Sequence) -> Iterator[Rounds]:
        """All operations of a sequence, the first when its bits are written."""
        p, chunk = self.p, self.overlay.chunk_bytes
        p.kv_base, p.slots, p.stride_bytes = sequence.base * chunk, sequence.slots, sequence.vector * chunk
        limits, tokens = sequence.limits(self.overlay), sequence.bits.shape[1]
        fetch = np.zeros((limits.ports, tokens), np.int32)
        c = KvCache(limits, sequence.placement(limits.ports), new_schedule(tokens, limits), fetch)
        self.progress.first = self.progress.now + sequence.bits.size
        for operation in sequence.operations:
            self._step(c, np.array(astuple(operation), np.int64), operation is sequence.operations[-1])
            self.bursts.append(self.memory.events[: self.memory.total[0].events].copy())
            self.memory.total[0].events = 0
            yield _rounds(c, limits.ports, limits.buffer_ports)

    def _step(self, c: KvCache, operation: NDArray[np.int64], last: bool) -> None:
        began, done = self.progress.now, False
        while not done:
            if self.progress.now - began > WATCHDOG and not self.trace[-WATCHDOG:, 0].any():
                raise SimulationError(f"the simulated KV buffer has stood still for {WATCHDOG} cycles")
            if self.progress.now == len(self.trace):
                self.trace, self.drives = _longer(self.trace), _longer(self.drives)
            records = (self.p, self.kv, c, self.ports, self.memory, self.requests, self.progress)
            done = run_operation(*records, operation, last, self.stalls, self.trace, self.drives)


def _longer(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.concatenate([table, np.zeros((SLICE + len(table), *table.shape[1:]), np.uint8)])


def _rounds(c: KvCache, ports: int, banks: int) -> Rounds:
    s = c.schedule
    n, rounds = int(s.s.entries), int(s.s.rounds)
    buffered = ports + s.read[:n] % max(banks, 1)
    lane = np.where(s.port[:n] < 0, buffered, s.port[:n])
    parts = (s.first[: rounds + 1].copy(), s.read[:n].copy(), s.kept[:n].copy())
    return Rounds(s.token[:n].copy(), lane, *parts, bool(s.s.usable), bool(s.s.in_order))
