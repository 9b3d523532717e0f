"""DMA control: LOAD_WEIGHTS becomes an operation of the weight stream."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block
from skipopu.hdl.weight_stream import weights_layout
from skipopu.program.isa import ADDRESS_UNIT, WIDTH, Gate
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay


def executes(head: Any, executed: Value) -> Value:
    """Whether an instruction has anything to do: its gate lets rows through; gate ALL does without a list."""
    found: Value = (head.gate == Gate.ALL) | executed.any()
    return found


def in_chunks(address: Value, chunk_bytes: int) -> Value:
    """An address of an instruction, in chunks; the sequencer has seen that it is a multiple of one."""
    ratio = (chunk_bytes // ADDRESS_UNIT).bit_length() - 1
    return address >> ratio if chunk_bytes >= ADDRESS_UNIT else address * (ADDRESS_UNIT // chunk_bytes)


class DmaControl(Block):
    """The engine at the queue of LOAD_WEIGHTS: an operation begins with its instruction and ends with it.

    Parameters
    ----------
    overlay : clock.hbm_ratio, dma.weight_chunks

    Ports
    -----
    head, begins, begun, blocked : in, from `EngineQueue` · leave : out: the instruction retires with this cycle
    list_gate, list_mask : out, of the instruction · executed : in, rows of that list, in the same cycle
    operation : out, stream, to `Dma`; taken in the cycle it is offered · done : in, its ``done``
    word_valid, word_ready : in, of the stream of weights
    cause : out, of the cycle

    Timing
    ------
    The operation is given in the cycle in which the instruction begins; ``leave`` in that of ``done``.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._chunk_bytes, self._credit = overlay.chunk_bytes, overlay.dma.weight_chunks
        super().__init__({
            "head": In(INSTRUCTION), "begins": In(1), "begun": In(1), "blocked": In(1), "leave": Out(1),
            "list_gate": Out(WIDTH["gate"]), "list_mask": Out(1), "executed": In(ROW_BITS),
            "operation": Out(stream.Signature(weights_layout(overlay.clock.hbm_ratio))), "done": In(1),
            "word_valid": In(1), "word_ready": In(1), "cause": Out(CAUSE),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Wires, and the words that are owed."""
        m = Module()
        sets = Signal(WIDTH["columns"], name="sets")
        m.d.comb += [
            self.list_gate.eq(self.head.gate), self.list_mask.eq(self.head.mask),
            sets.eq(Mux(executes(self.head, self.executed), self.head.columns, 0)),
            self.operation.valid.eq(self.begins), self.operation.payload.sets.eq(sets),
            self.operation.payload.address.eq(in_chunks(self.head.address, self._chunk_bytes)),
            self.leave.eq(self.begun & self.done),
        ]  # fmt: skip
        self._cause(m, sets)
        return m

    def _cause(self, m: Module, sets: Signal) -> None:
        """A word leaves, or words that were asked for wait for KER, or for the slowest port."""
        most = (1 << WIDTH["columns"]) + self._credit
        owed, after = Signal(range(most), name="owed"), Signal(range(most), name="owed_and_new")
        moves = Signal(name="moves")
        m.d.comb += [moves.eq(self.word_valid & self.word_ready), after.eq(owed + Mux(self.begins, sets, 0))]
        m.d.sync += owed.eq(after - moves)
        with m.If(moves):
            m.d.comb += self.cause.eq(Cause.BUSY)
        with m.Elif(self.blocked):
            m.d.comb += self.cause.eq(Cause.SEMAPHORE)
        with m.Elif(after.any()):
            m.d.comb += self.cause.eq(Mux(self.word_valid, Cause.BACKPRESSURE, Cause.HBM))
        with m.Else():
            m.d.comb += self.cause.eq(Mux(self.begins | self.begun, Cause.BUSY, Cause.IDLE))
