"""ROT buffer: cosines and sines of the rows of a block, written from DDR4, read a word a cycle."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.result_operation import half_words
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS


class RotaryBuffer(Unit):
    """Memory of words for ``lanes`` results: lanes / 2 cosines, then as many sines (SkipOPU §3); block RAM.

    Parameters
    ----------
    lanes : results of a word, even
    words : depth

    Ports
    -----
    write (1), write_address, write_data : in, ``lanes`` × FP16
    read_address : in · cosines, sines : out, lanes / 2 × FP16 each

    Timing
    ------
    Data the cycle after the address; a word written in a cycle can be read from the next one on.
    """

    STEPS = 1

    def __init__(self, *, lanes: int, words: int) -> None:
        self._lanes, self._words = lanes, words
        super().__init__({
            "write": In(1), "write_address": In(range(words)), "write_data": In(half_words(lanes)),
            "read_address": In(range(words)),
            "cosines": Out(half_words(lanes // 2)), "sines": Out(half_words(lanes // 2)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A write and a read port."""
        m = Module()
        data = Value.cast(self.write_data)
        m.submodules.words = words = Memory(shape=len(data), depth=self._words, init=[])
        write_port, read_port = words.write_port(), words.read_port()
        cosines, sines = self._halves(read_port.data)
        m.d.comb += [
            write_port.addr.eq(self.write_address), write_port.en.eq(self.write), write_port.data.eq(data),
            read_port.addr.eq(self.read_address), read_port.en.eq(1),
            Value.cast(self.cosines).eq(cosines), Value.cast(self.sines).eq(sines),
        ]  # fmt: skip
        return m

    def _halves(self, word: Value) -> tuple[Value, Value]:
        half = len(word) // 2
        return word[:half], word[half:]


class RotaryAddress(Unit):
    """Where the rotary constants of a word stand: row of the block · words of a head + word of the head.

    Parameters
    ----------
    words : depth of the ROT buffer

    Ports
    -----
    sent (1) : in, a word of results goes; with it index, its row of the block, and rotary_words, the words of a head
    word_last, last_row, last (1) : in, the word is the last of its row, its row of the column block, of the operation
    address : out, of the word that went in the cycle before

    Timing
    ------
    Latency 1: 13 bits times the words of a head, one DSP48E2. A word of the head is (block · words of a row + word)
    modulo the words of a head, kept by counting.
    """

    STEPS = 1

    def __init__(self, *, words: int) -> None:
        self._words = words
        flags = {name: In(1) for name in ("sent", "word_last", "last_row", "last")}
        super().__init__({
            **flags, "index": In(ROW_BITS), "rotary_words": In(range(words + 1)), "address": Out(range(words)),
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
        m.d.sync += self.address.eq(self.index * self.rotary_words + position)
        return m

    def _block_done(self) -> Value:
        return self.word_last & self.last_row
