"""MatrixControl's surroundings, cycle by cycle: what they do, and what it has to answer.

Everything is drawn: when tiles are granted, words ask to go, chunks of K appear, rows end. What MatrixControl answers
follows: starts and ends from the simulator's functions, places from `matrix_places`.
"""

from collections import defaultdict, deque

import numpy as np

from skipopu.hdl.cosim.matrix_array import ArraySide
from skipopu.hdl.cosim.matrix_places import Instruction
from skipopu.hdl.cosim.matrix_said import Cycle, Said
from skipopu.hdl.cosim.matrix_sim import DMA, MatrixSim
from skipopu.hdl.cosim.matrix_words import WordSide
from skipopu.hdl.engine_queue import RECORD
from skipopu.program.isa import Gate, Opcode
from skipopu.sim.npe import ENGINE
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

QUEUE = 4  # instructions that wait
IN_LIST = ("gate", "mask", "rows")


class MatrixModel:
    """Runs instructions through; one `Cycle` after the other."""

    def __init__(self, instructions: list[Instruction], overlay: Overlay, rng: np.random.Generator) -> None:
        self.instructions, self.rng = instructions, rng
        self.sim = MatrixSim(instructions, overlay)
        self.later: dict[int, list[Cycle]] = defaultdict(list)
        self.array = ArraySide(overlay, rng, self.later)
        self.word_side = WordSide(overlay, rng, self.later)
        self.waiting = deque(range(len(instructions)))
        self.retired = self.now = 0
        self.said = Said(overlay)

    def run(self) -> list[Cycle]:
        """Return all cycles until the last instruction has retired."""
        found = []
        while self.retired < len(self.instructions):
            found.append(self.step())
        return found

    def step(self) -> Cycle:
        """One cycle, in the order of the simulator's blocks."""
        cycle, now = Cycle(), self.now
        for earlier in self.later.pop(now, []):
            cycle.join(earlier)
        self._queue(cycle)
        self._retire(cycle)
        flying, active = self.sim.flying > 0, self.array.instruction is not None
        if self.word_side.step(cycle, now, self.array):
            self.sim.last_word()
        passes = self.array.operands(cycle, now)
        ends = self.array.rows(cycle)
        self.word_side.cause(cycle, self.array, passes, flying and not active)
        if active:
            cycle.expect("cause", self.array.cause())
        self.array.after()
        self._start(cycle, active, ends)
        self.now += 1
        return cycle

    def _queue(self, cycle: Cycle) -> None:
        """Instructions arrive, and signals for them."""
        e = self.sim.m.engines
        if self.waiting and e.tail[ENGINE] - e.head[ENGINE] < QUEUE and self.rng.random() < 0.5:
            self.sim.push(self.waiting.popleft(), self.now + int(self.rng.integers(1, 4)))
        if not e.semaphore[DMA, ENGINE] and self.rng.random() < 0.1:
            self.sim.signal()

    def _retire(self, cycle: Cycle) -> None:
        found = self.sim.retire(self.now)
        cycle.expect("retire", int(found >= 0))
        if found >= 0:
            self.retired += 1
            w = self.sim.work[found]
            fields = {"index": found, "issue": w.issue, "first": w.first, "signal": w.signal}
            cycle.expect("retired", *self.said.word(RECORD, fields))

    def _head(self) -> int:
        """Instruction that stands at the head in this cycle."""
        e = self.sim.m.engines
        head = self.sim.head
        return head if head >= 0 and e.ready[ENGINE, e.head[ENGINE] % e.ready.shape[1]] <= self.now else -1

    def _start(self, cycle: Cycle, active: bool, ends: bool) -> None:
        """The head waits, begins, starts, leaves."""
        head, running, met = self._head(), self.sim.running, self.sim.met
        begins = head >= 0 and not running and met
        cycle.give(
            begins=begins, running=running, blocked=head >= 0 and not running and not met, now=self.now, active=active
        )  # fmt: skip
        before, flights = int(self.sim.m.engines.head[ENGINE]), int(self.sim.m.npe.flight_tail)
        if head >= 0:
            self._offer(cycle, head)
        self.sim.array(ends)
        starts = int(self.sim.m.npe.flight_tail) > flights
        goes = starts and len(self.instructions[head].listed) > 0
        cycle.expect("leave", int(self.sim.m.engines.head[ENGINE]) - before)
        cycle.expect("array__valid", int(goes))
        cycle.expect("npe_start", int(goes))
        if head >= 0:
            work = self.sim.work[head]
            record = {"index": head, "issue": max(work.issue, 0), "first": 0, "signal": work.signal}
            cycle.give(record=self.said.word(RECORD, record)[0])
        if goes:
            self._begin(cycle, head)
        if not active:
            logits = goes and self.instructions[head].opcode == Opcode.ROUTE and self.instructions[head].columns > 0
            cycle.expect("router_start_valid", int(logits))
            self._cause(cycle, starts, goes)

    def _offer(self, cycle: Cycle, head: int) -> None:
        """What the queue and the lists say of the head."""
        i = self.instructions[head]
        cycle.give(
            head=int.from_bytes(self.sim.words[head].tobytes(), "little"), executed=len(i.listed), rounds=i.rounds,
            array__ready=1,
        )  # fmt: skip
        gate = Gate.ALL if i.opcode == Opcode.ROUTE else i.gate
        for name, value in zip(IN_LIST, (gate, i.mask, i.rows), strict=True):
            cycle.expect(f"list_{name}", int(value))

    def _begin(self, cycle: Cycle, head: int) -> None:
        i, work = self.instructions[head], self.sim.work[head]
        cycle.expect("array__payload", *self.said.array(i, work))
        if i.opcode == Opcode.ROUTE and i.columns:
            cycle.expect("router_start", *self.said.router(i))
        self.array.begin(i, work, self.now)
        self.word_side.begin(i, work, self.now)

    def _cause(self, cycle: Cycle, starts: bool, goes: bool) -> None:
        """What an array without an operation waits for, as the simulator says."""
        found = self.array.first_cause() if goes else Cause.IDLE if starts else self.sim.m.pe.cause
        cycle.expect("cause", int(found))
