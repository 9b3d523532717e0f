"""Frontend: sequencer, queues, semaphores and retirement, connected: all that the engines share."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.engine_queue import RECORD, EngineQueue
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.program_run import ProgramRun
from skipopu.hdl.retirement import RETIRED, Retirement
from skipopu.hdl.semaphores import Semaphores
from skipopu.hdl.sequencer import Sequencer
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ENGINES
from skipopu.program.status import WATCHDOG_CYCLES
from skipopu.spec.overlay import IN_FLIGHT, Overlay

FROM_SEQUENCER = ("burst", "words", "address", "count", "cause")
FROM_RUN = ("memory_error", "moves", "running", "now", "retired", "status", "error", "ended")


class Frontend(Block):
    """Fetch a program, hand its instructions to the engines in order, and say when each of them ran.

    Parameters
    ----------
    overlay : section sequencer, clock.hbm_ratio
    watchdog : see `ProgramRun`

    Ports
    -----
    start, address, count, burst, words, cause : see `Sequencer`
    head, begins, begun, blocked, record : out, of each engine: see `EngineQueue`; its ``running`` is ``begun``
    leave : in, a bit an engine: the head of its queue leaves with this cycle
    retire, retire_record : in, of each engine: an instruction retires; its record
    retire_stream : out, stream of `RETIRED` · lost : out: see `Retirement`
    memory_error, moves, running, now, retired, status, error, ended : see `ProgramRun`

    Timing
    ------
    That of its parts.
    """

    def __init__(self, *, overlay: Overlay, watchdog: int = WATCHDOG_CYCLES) -> None:
        self._sequencer, self._run = Sequencer(overlay=overlay), ProgramRun(watchdog=watchdog)
        self._queue = EngineQueue(depth=overlay.sequencer.queue_depth)
        self._retirement = Retirement(outstanding=len(ENGINES) * overlay.sequencer.queue_depth + IN_FLIGHT)
        sequencer, run, engines = self._sequencer.signature.members, self._run.signature.members, len(ENGINES)
        super().__init__({
            "start": In(1),
            **{name: sequencer[name] for name in FROM_SEQUENCER}, **{name: run[name] for name in FROM_RUN},
            "head": Out(INSTRUCTION).array(engines), "begins": Out(engines), "begun": Out(engines),
            "blocked": Out(engines), "record": Out(RECORD).array(engines), "leave": In(engines),
            "retire": In(engines), "retire_record": In(RECORD).array(engines),
            "retire_stream": Out(stream.Signature(RETIRED)), "lost": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Blocks and wires."""
        m = Module()
        sequencer, run = place(m, "sequencer", self._sequencer), place(m, "run", self._run)
        semaphores, retirement = place(m, "semaphores", Semaphores()), place(m, "retirement", self._retirement)
        self._program(m, sequencer, run)
        for engine in range(len(ENGINES)):
            self._engine(m, engine, sequencer, semaphores, retirement)
        connect(m, retirement.stream, flipped(self.retire_stream))
        m.d.comb += [
            retirement.now.eq(self.now), retirement.retire.eq(self.retire), retirement.halt.eq(sequencer.halt),
            retirement.halt_index.eq(sequencer.halt_index), retirement.start.eq(self.start),
            self.lost.eq(retirement.lost),
        ]  # fmt: skip
        return m

    def _program(self, m: Module, sequencer: Any, run: Any) -> None:
        """What begins and ends a program."""
        connect(m, sequencer.burst, flipped(self.burst))
        connect(m, flipped(self.words), sequencer.words)
        m.d.comb += [
            sequencer.start.eq(self.start), sequencer.address.eq(self.address), sequencer.count.eq(self.count),
            sequencer.stop.eq(run.error), self.cause.eq(sequencer.cause), run.start.eq(self.start),
            run.dispatched.eq(sequencer.dispatched.any() | sequencer.halt), run.halt.eq(sequencer.halt),
            run.retire.eq(self.retire), run.active.eq(sequencer.active), run.fault.eq(sequencer.fault),
            run.memory_error.eq(self.memory_error), run.moves.eq(self.moves),
            *(getattr(self, name).eq(getattr(run, name)) for name in FROM_RUN[2:]),
        ]  # fmt: skip

    def _engine(self, m: Module, engine: int, sequencer: Any, semaphores: Any, retirement: Any) -> None:
        """One engine's queue."""
        queue = place(m, f"{ENGINES[engine].label}_queue", self._queue)
        m.d.comb += [
            queue.dispatched.eq(sequencer.dispatched[engine]), queue.write.eq(sequencer.write[engine]),
            queue.instruction.eq(sequencer.instruction), queue.index.eq(sequencer.index),
            sequencer.level[engine].eq(queue.level), queue.now.eq(self.now), queue.leave.eq(self.leave[engine]),
            queue.available.eq(semaphores.available[engine]), semaphores.take[engine].eq(queue.take),
            semaphores.give[engine].eq(retirement.give[engine]),
            self.head[engine].eq(queue.head), self.begins[engine].eq(queue.begins),
            self.begun[engine].eq(queue.running), self.blocked[engine].eq(queue.blocked),
            self.record[engine].eq(queue.record), retirement.record[engine].eq(self.retire_record[engine]),
        ]  # fmt: skip
