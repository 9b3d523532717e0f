"""ROT buffer: cosines and sines of the rows of a block, written from DDR4, read a word a cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.constants_memory import WRITE_BYTES, ConstantsMemory, word_write
from skipopu.hdl.npe.result_operation import half_words
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import place
from skipopu.spec.overlay import FP16_BYTES


class RotaryBuffer(Unit):
    """Memory of words for ``lanes`` results: lanes / 2 cosines, then as many sines (SkipOPU §3); block RAM.

    Parameters
    ----------
    lanes : results of a word, even
    words : depth

    Ports
    -----
    write : in, `word_write`: what comes from DDR4 in a cycle, several words or a part of one
    read_address : in · cosines, sines : out, lanes / 2 × FP16 each

    Timing
    ------
    Data the cycle after the address; a word written in a cycle can be read from the next one on.
    """

    STEPS = 1

    def __init__(self, *, lanes: int, words: int) -> None:
        self._word, self._words = lanes * FP16_BYTES, words
        super().__init__({
            "write": In(word_write(lanes * FP16_BYTES * words)), "read_address": In(range(words)),
            "cosines": Out(half_words(lanes // 2)), "sines": Out(half_words(lanes // 2)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The memory of the constants, whose two halves lie one behind the other."""
        m = Module()
        half = 1 << (max(-(-self._words * self._word // 2), self._word, WRITE_BYTES) - 1).bit_length()
        memory = place(m, "words", ConstantsMemory(half_bytes=half, read_bytes=self._word, read_stages=self.STEPS))
        cosines, sines = self._halves(memory.data)
        m.d.comb += [
            memory.write.valid.eq(self.write.valid), memory.write.data.eq(self.write.data), memory.enable.eq(1),
            *self._place(self.write.address, memory.write.address, memory.write.half, half // WRITE_BYTES),
            *self._place(self.read_address, memory.address, memory.half, half // self._word),
            Value.cast(self.cosines).eq(cosines), Value.cast(self.sines).eq(sines),
        ]  # fmt: skip
        return m

    def _place(self, address: Value, inside: Any, half: Any, words: int) -> list[Any]:
        """The half, of so many words, and the address in it."""
        return [inside.eq(address % words), half.eq(address >= words)]

    def _halves(self, word: Value) -> tuple[Value, Value]:
        half = len(word) // 2
        return word[:half], word[half:]


class RotaryAddress(Unit):
    """Where the rotary constants of a word stand: row of the block · distance of two rows + word of the head.

    Parameters
    ----------
    words : depth of the ROT buffer

    Ports
    -----
    sent (1) : in, a word of results goes; with it index, its row of the block, rotary_words, the words of a head, and
        rotary_stride, from a row to the next
    word_last, last_row, last (1) : in, the word is the last of its row, its row of the column block, of the operation
    address : out, of the word that went in the cycle before

    Timing
    ------
    Latency 1: 13 bits times the distance, one DSP48E2. A word of the head is (block · words of a row + word)
    modulo the words of a head, kept by counting.
    """

    STEPS = 1

    def __init__(self, *, words: int) -> None:
        self._words = words
        flags = {name: In(1) for name in ("sent", "word_last", "last_row", "last")}
        super().__init__({
            **flags, "index": In(ROW_BITS), "rotary_words": In(range(words + 1)), "rotary_stride": In(range(words + 1)),
            "address": Out(range(words)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Each row of a column block begins at the same word of the head."""
        m = Module()
        position, first = (Signal(range(self._words), name=name) for name in ("position", "block_position"))
        following = named(m, Mux(position == self.rotary_words - 1, 0, position + 1)[: len(position)], "following")
        with m.If(self.sent):
            m.d.sync += position.eq(following)
            with m.If(self.word_last & ~self.last_row):
                m.d.sync += position.eq(first)
            with m.If(self._block_done()):
                m.d.sync += first.eq(following)
            with m.If(self.word_last & self.last):
                m.d.sync += [position.eq(0), first.eq(0)]
        m.d.sync += self.address.eq(self.index * self.rotary_stride + position)
        return m

    def _block_done(self) -> Value:
        return self.word_last & self.last_row
