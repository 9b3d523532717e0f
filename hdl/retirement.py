"""Retirement: signals of the instructions that end, and the retire stream."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.engine_queue import RECORD
from skipopu.hdl.fifo import Fifo
from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ENGINES
from skipopu.spec import ledger

SOURCES = (*ENGINES, ledger.Block.SEQUENCER)  # whose instructions retire; the sequencer's is HALT
RETIRED = data.StructLayout({
    "engine": range(len(ledger.Block)),  # number of the block
    "index": INDEX_BITS,
    "issue": CYCLE_BITS,  # the instruction came to the head of its queue
    "first": CYCLE_BITS,  # it began
    "last": CYCLE_BITS,  # its last cycle
})  # fmt: skip


class Retirement(Block):
    """Instructions retire, all engines at once if need be; the stream takes them one after another.

    Each engine has a FIFO of ``outstanding`` entries. That is enough: an instruction is dispatched a cycle, and while
    an entry waits one leaves, so that entries and instructions under way together never exceed ``outstanding``.

    Parameters
    ----------
    outstanding : instructions that are dispatched and not retired, at most

    Ports
    -----
    now : in, cycle
    retire, record : in, of each engine: an instruction retires in this cycle; what its queue says of it
    halt, halt_index : in, HALT passes the sequencer
    give : out, to `Semaphores`: the engines that each engine signals
    stream : out, stream of `RETIRED`, in the order of their ends within an engine; in a cycle the lowest engine first
    lost : out, the stream stalled so long that an entry was dropped; stays until ``start``
    start : in, a program begins

    Timing
    ------
    Signals in the cycle of ``retire``; the stream a cycle later at the earliest.
    """

    def __init__(self, *, outstanding: int) -> None:
        self._outstanding = outstanding
        super().__init__({
            "now": In(CYCLE_BITS), "retire": In(len(ENGINES)), "record": In(RECORD).array(len(ENGINES)),
            "halt": In(1), "halt_index": In(INDEX_BITS), "start": In(1),
            "give": Out(len(ENGINES)).array(len(ENGINES)), "stream": Out(stream.Signature(RETIRED)), "lost": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A FIFO an engine, and one for HALT."""
        m = Module()
        for engine, give in enumerate(self.give):
            m.d.comb += give.eq(Mux(self.retire[engine], self.record[engine].signal, 0))
        queues = [self._queue(m, number) for number in range(len(SOURCES))]
        lost = Cat(*(queue.full & wants for queue, wants in queues)).any()
        m.d.sync += self.lost.eq((self.lost & ~self.start) | lost)
        m.d.comb += self.stream.valid.eq(Cat(*(~queue.empty for queue, _ in queues)).any())
        for number, (queue, _) in enumerate(queues):
            with (m.Elif if number else m.If)(~queue.empty):
                m.d.comb += [self.stream.payload.eq(queue.head), queue.read.eq(self.stream.ready)]
        return m

    def _queue(self, m: Module, number: int) -> tuple[Any, Signal]:
        """Return a source's FIFO and whether it has an entry in this cycle."""
        source = SOURCES[number]
        depth = self._outstanding if source in ENGINES else 1
        queue = place(m, f"{source.label}_queue", Fifo(bits=RETIRED.size, depth=depth))
        entry, wants = Signal(RETIRED, name=f"{source.label}_entry"), Signal(name=f"{source.label}_retires")
        if source in ENGINES:
            record = self.record[number]
            m.d.comb += [
                wants.eq(self.retire[number]), entry.index.eq(record.index), entry.issue.eq(record.issue),
                entry.first.eq(record.first),
            ]  # fmt: skip
        else:
            m.d.comb += [
                wants.eq(self.halt), entry.index.eq(self.halt_index), entry.issue.eq(self.now), entry.first.eq(self.now)
            ]  # fmt: skip
        m.d.comb += [
            entry.engine.eq(source), entry.last.eq(self.now),
            queue.write.eq(wants & ~queue.full), queue.write_data.eq(entry),
        ]  # fmt: skip
        return queue, wants
