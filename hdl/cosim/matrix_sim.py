"""The simulator's part of MatrixControl's bench: its own functions start, end and retire the operations."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.matrix_places import Instruction
from skipopu.program.isa import COLUMN, NAMES, encode
from skipopu.sim.loop_bounds import fill_loop_bounds
from skipopu.sim.machine import ENGINES_STATE, FAR, IFM, KER, NPE, PE, PSUM, TOTAL, record
from skipopu.sim.npe import ENGINE, _retire_due, _set_finish
from skipopu.sim.pe_array import _end, _start
from skipopu.sim.work import WORK
from skipopu.spec.overlay import Overlay

DMA = 0  # the engine that everybody waits for
Words = NDArray[np.uint64]


class Machine(NamedTuple):
    """The records of the simulator that starting and retiring look at."""

    work: Any
    engines: Any
    pe: Any
    ker: Any
    ifm: Any
    psum: Any
    npe: Any
    total: Any


class MatrixSim:
    """Queue, starts and ends of instructions as the simulator has them."""

    def __init__(self, instructions: list[Instruction], overlay: Overlay) -> None:
        fields = np.array([[i.fields[name] for name in NAMES] for i in instructions], np.int64)
        self.words: Words = encode(fields)
        self.work = _work(instructions, fields, overlay)
        records = [record(each) for each in (ENGINES_STATE, PE, KER, IFM, PSUM, NPE, TOTAL)]
        self.m: Any = Machine(self.work, *records)
        self.m.pe.instruction = -1
        self.m.npe.finish[:] = FAR

    def push(self, instruction: int, now: int) -> None:
        """Put an instruction into the queue."""
        e = self.m.engines
        place = e.tail[ENGINE] % e.queue.shape[1]
        e.queue[ENGINE, place], e.ready[ENGINE, place] = instruction, now
        e.tail[ENGINE] += 1

    def signal(self) -> None:
        """One more signal that the next instruction with a wait can take."""
        self.m.engines.semaphore[DMA, ENGINE] += 1

    @property
    def head(self) -> int:
        """Instruction at the head of the queue, −1 if there is none."""
        e = self.m.engines
        return int(e.queue[ENGINE, e.head[ENGINE] % e.queue.shape[1]]) if e.head[ENGINE] < e.tail[ENGINE] else -1

    @property
    def running(self) -> bool:
        """It has begun before."""
        return bool(self.m.engines.running[ENGINE])

    @property
    def met(self) -> bool:
        """Its semaphores are met."""
        waits = self.head >= 0 and self.work[self.head].wait
        return not waits or bool(self.m.engines.semaphore[DMA, ENGINE])

    @property
    def flying(self) -> int:
        """Operations in flight."""
        return int(self.m.npe.flight_tail - self.m.npe.flight_head)

    def retire(self, now: int) -> int:
        """First of the cycle: return the instruction that retires, −1 if none does."""
        n = self.m.npe
        self.m.total.now, before = now, int(n.flight_head)
        _retire_due(self.m)
        return int(n.flight[before % len(n.flight)]) if n.flight_head > before else -1

    def last_word(self) -> None:
        """The last word of the oldest operation that has not sent it goes."""
        _set_finish(self.m)

    def array(self, ends: bool) -> None:
        """Last of the cycle: the array's operation ends, or the next one starts if it can."""
        pe = self.m.pe
        if pe.instruction >= 0:
            if ends:
                _end(self.m, pe.instruction)
            return
        _start(self.m)


def _work(instructions: list[Instruction], fields: NDArray[np.int64], overlay: Overlay) -> Any:
    """Loop bounds as the simulator resolves them."""
    values = {name: np.zeros(len(fields), np.int64) for name in WORK.names or ()}
    for name in ("opcode", "wait", "signal", "pairs", "tokens", "fence"):
        values[name] = fields[:, COLUMN[name]]
    values["rows"] = np.array([len(i.listed) for i in instructions])
    values["rounds"] = np.array([i.rounds for i in instructions])
    fill_loop_bounds(values, fields, overlay)
    found = np.zeros(len(fields), WORK).view(np.recarray)
    for name, value in values.items():
        found[name] = value
    return found
