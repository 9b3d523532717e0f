"""Sequencer: fetches a program, checks it, and dispatches an instruction a cycle to the engines' queues."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.instruction import INDEX_BITS, INSTRUCTION
from skipopu.hdl.instruction_check import InstructionCheck
from skipopu.hdl.instruction_fetch import BURST, PROGRAM_ADDRESS, InstructionFetch
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.status import STATUS, report
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ENGINES
from skipopu.program.status import Condition
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import DDR_BEAT_BYTES, Overlay

CAUSE = range(len(Cause))


class Sequencer(Block):
    """Dispatch the instructions of a program in order, each when its engine's queue has room, up to HALT or a fault.

    Parameters
    ----------
    overlay : section sequencer, clock.hbm_ratio

    Ports
    -----
    start : in, the program begins with the next cycle
    address, count : in, steady: see `InstructionFetch`
    burst, words : out and in, streams, to and from channel 0 of DDR4
    stop : in, dispatch no more
    level : in, of each queue, instructions as the cycle begins
    dispatched : out, a bit a queue: an instruction is on its way, ``dispatch_stages`` − 1 cycles long
    write, instruction, index : out, it comes
    halt : out, HALT passes · halt_index : out, its number
    active : out, from ``start`` up to HALT or a fault
    fault : out, STATUS; a code for one cycle: the instruction is not dispatched, and none after it
    cause : out, of the cycle

    Timing
    ------
    An instruction is dispatched in the cycle in which its word comes, and is at the head of its queue
    ``dispatch_stages`` later, at the earliest. One instruction a cycle.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        s = overlay.sequencer
        self._overlay, self._depth, self._stages = overlay, s.queue_depth, s.dispatch_stages - 1
        super().__init__({
            "start": In(1), "address": In(PROGRAM_ADDRESS), "count": In(INDEX_BITS),
            "burst": Out(stream.Signature(BURST)), "words": In(stream.Signature(DDR_BEAT_BYTES * 8)), "stop": In(1),
            "level": In(range(s.queue_depth + 1)).array(len(ENGINES)), "dispatched": Out(len(ENGINES)),
            "write": Out(len(ENGINES)), "instruction": Out(INSTRUCTION), "index": Out(INDEX_BITS),
            "halt": Out(1), "halt_index": Out(INDEX_BITS), "active": Out(1), "fault": Out(STATUS),
            "cause": Out(CAUSE),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Fetch, check, dispatch."""
        m = Module()
        fetch, check = self._fetch(m), self._check(m)
        valid, faulty, room = (Signal(name=name) for name in ("valid", "faulty", "room"))
        full = Cat(*(self._is_full(level) for level in self.level))
        m.d.comb += [
            check.instruction.eq(fetch.instruction), check.index.eq(fetch.index), check.last.eq(fetch.last),
            valid.eq(fetch.valid & self.active & ~self.stop),
            faulty.eq(valid & (check.fault.code != Condition.OK)), room.eq((check.engine & full) == 0),
            fetch.take.eq(valid & ~faulty & room), check.dispatched.eq(fetch.take),
            self.halt.eq(fetch.take & check.halt), self.halt_index.eq(fetch.index),
            self.dispatched.eq(Mux(fetch.take, check.engine, 0)),
        ]  # fmt: skip
        self._activity(m, faulty, check.fault)
        self._cause(m, valid, room)
        self._pipeline(m, fetch)
        return m

    def _fetch(self, m: Module) -> Any:
        fetch = place(m, "fetch", InstructionFetch(instructions=self._overlay.sequencer.fetch_instructions))
        connect(m, fetch.burst, flipped(self.burst))
        connect(m, flipped(self.words), fetch.words)
        m.d.comb += [fetch.start.eq(self.start), fetch.address.eq(self.address), fetch.count.eq(self.count)]
        return fetch

    def _check(self, m: Module) -> Any:
        check = place(m, "check", InstructionCheck(overlay=self._overlay))
        m.d.comb += [check.start.eq(self.start), check.count.eq(self.count)]
        return check

    def _is_full(self, level: Value) -> Value:
        return level == self._depth

    def _activity(self, m: Module, faulty: Signal, fault: Any) -> None:
        """From start to HALT or a fault; a program without instructions is one."""
        nothing = named(m, self.active & (self.count == 0), "nothing")
        with m.If(self.start):
            m.d.sync += self.active.eq(1)
        with m.Elif(self.halt | faulty | nothing | self.stop):
            m.d.sync += self.active.eq(0)
        with m.If(nothing):
            m.d.comb += report(self.fault, Condition.NO_INSTRUCTION)
        with m.Elif(faulty):
            m.d.comb += self.fault.eq(fault)

    def _cause(self, m: Module, valid: Signal, room: Signal) -> None:
        with m.If(~self.active):
            m.d.comb += self.cause.eq(Cause.IDLE)
        with m.Elif(~valid):
            m.d.comb += self.cause.eq(Cause.DDR)
        with m.Elif(~room):
            m.d.comb += self.cause.eq(Cause.BACKPRESSURE)
        with m.Else():
            m.d.comb += self.cause.eq(Cause.BUSY)

    def _pipeline(self, m: Module, fetch: Any) -> None:
        """The way to the queues."""
        write: Value = self.dispatched
        for stage in range(1, self._stages + 1):
            register = Signal(len(ENGINES), name=f"write_{stage}")
            m.d.sync += register.eq(write)
            write = register
        m.d.comb += [
            self.write.eq(write), self.index.eq(delayed(m, fetch.index, self._stages, "index")),
            self.instruction.eq(delayed(m, fetch.instruction, self._stages, "instruction")),
        ]  # fmt: skip
