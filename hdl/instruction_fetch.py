"""Instruction fetch: the program from DDR4 in bursts, ahead of the sequencer, and one instruction after another."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.instruction import INDEX_BITS, INSTRUCTION, INSTRUCTION_BITS
from skipopu.hdl.pipeline import named
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import ADDRESS_UNIT, INSTRUCTION_BYTES, WIDTH
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES, DDR_CHANNELS

BEAT_INSTRUCTIONS = DDR_BEAT_BYTES // INSTRUCTION_BYTES
BURST_INSTRUCTIONS = AXI3_BURST_BEATS * BEAT_INSTRUCTIONS
BURST_BYTES = AXI3_BURST_BEATS * DDR_BEAT_BYTES
CHANNEL_BYTES = (ADDRESS_UNIT << WIDTH["address"]) // DDR_CHANNELS  # that instructions can address
PROGRAM_ADDRESS = range(CHANNEL_BYTES // BURST_BYTES)  # in bursts, so that none of them crosses 4 KiB
BURST = data.StructLayout({
    "address": range(CHANNEL_BYTES // DDR_BEAT_BYTES),  # of the channel, in beats
    "beats": range(AXI3_BURST_BEATS + 1),
})  # fmt: skip


class InstructionFetch(Block):
    """Ask for bursts of 32 instructions as far as the FIFO has room; hand out one instruction after another.

    Parameters
    ----------
    instructions : fetched and not yet taken, at most; at least a burst

    Ports
    -----
    start : in, a program begins with the next cycle; not while one is fetched
    address, count : in, steady: where the program lies in channel 0 of DDR4, in bursts of 1 KiB; its instructions
    burst : out, stream, to channel 0
    words : in, stream of beats from there, in order; always taken
    instruction, valid : out, the next instruction
    index : out, its number · last : out, it is the program's last
    take : in, with ``valid``: the next one, please

    Timing
    ------
    First request in the cycle after ``start``. An instruction can be taken in the cycle in which its word comes.
    """

    def __init__(self, *, instructions: int) -> None:
        self._instructions = instructions
        super().__init__({
            "start": In(1), "address": In(PROGRAM_ADDRESS), "count": In(INDEX_BITS),
            "burst": Out(stream.Signature(BURST)), "words": In(stream.Signature(DDR_BEAT_BYTES * 8)),
            "instruction": Out(INSTRUCTION), "valid": Out(1), "index": Out(INDEX_BITS), "last": Out(1), "take": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """What was asked for, what was taken, and the words between."""
        m = Module()
        m.d.comb += self.last.eq(self.index == self.count - 1)
        with m.If(self.start):
            m.d.sync += self.index.eq(0)
        with m.Elif(self.take):
            m.d.sync += self.index.eq(self.index + 1)
        self._request(m)
        self._words(m)
        return m

    def _request(self, m: Module) -> None:
        """A burst, the last one as short as the program."""
        requested, left = Signal(INDEX_BITS, name="requested"), Signal(INDEX_BITS, name="left")
        size = Signal(range(BURST_INSTRUCTIONS + 1), name="burst_instructions")
        active, moves = Signal(name="active"), named(m, self.burst.valid & self.burst.ready, "moves")
        ahead = named(m, requested - self.index, "ahead", INDEX_BITS)
        m.d.comb += [
            left.eq(self.count - requested), size.eq(Mux(left < BURST_INSTRUCTIONS, left, BURST_INSTRUCTIONS)),
            self.burst.valid.eq(active & left.any() & self._has_room(ahead)),
            self.burst.payload.address.eq(self.address * AXI3_BURST_BEATS + requested // BEAT_INSTRUCTIONS),
            self.burst.payload.beats.eq((size + BEAT_INSTRUCTIONS - 1) // BEAT_INSTRUCTIONS),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [active.eq(1), requested.eq(0)]
        with m.Elif(moves):
            m.d.sync += requested.eq(requested + size)

    def _has_room(self, ahead: Signal) -> Any:
        return ahead <= self._instructions - BURST_INSTRUCTIONS

    def _words(self, m: Module) -> None:
        """A FIFO that a word passes at once where it is empty; the second instruction of a word takes it away."""
        depth = self._instructions // BEAT_INSTRUCTIONS + 1  # the first word may be half taken
        queue = place(m, "queue", Fifo(bits=DDR_BEAT_BYTES * 8, depth=depth))
        second = named(m, self.index[0], "second")
        word = named(m, Mux(queue.empty, self.words.payload, queue.head), "word")
        gone = named(m, self.take & (second | self.last), "gone")
        m.d.comb += [
            self.words.ready.eq(1), self.valid.eq(self.words.valid | ~queue.empty),
            queue.write.eq(self.words.valid & ~(queue.empty & gone)), queue.write_data.eq(self.words.payload),
            queue.read.eq(gone & ~queue.empty), self.instruction.eq(word.word_select(second, INSTRUCTION_BITS)),
        ]  # fmt: skip
