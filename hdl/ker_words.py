"""KER words: tiles of weights out of the words of their stream, which need not begin where a tile does."""

import math
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import FP16_BITS
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import OPERATION, takes
from skipopu.hdl.verilog import Block
from skipopu.spec.number_format import INT4_BITS
from skipopu.spec.tile_source import TileSource


def granule_bytes(columns: int, dot_length: int, word_bytes: int) -> int:
    """Bytes in which weights move: tiles of both formats and words are whole numbers of them."""
    weights = columns * dot_length
    return math.gcd(word_bytes, weights * INT4_BITS // 8, weights * FP16_BITS // 8)


class KerWords(Block):
    """Which granule of a weight tile is written, and where in the word it stands.

    Parameters
    ----------
    columns, dot_length : the tile
    word_bytes : bytes of the stream's words

    Ports
    -----
    operation : in, format of the weights, steady while it runs
    start (1) : in, its first cycle is the one after
    room (1) : in, a half can be written
    stream : in, words of weights, tile after tile, column-major, INT4 low nibble first
    write : out, a bit a granule of an FP16 tile: written in this cycle; granule j is found in ``word`` at place j
        modulo a word's granules
    word : out, the stream's word, turned to where the tile begins
    from_previous, previous : out, where words hold several granules: those that come from the word before, that word
    complete (1) : out, the tile is complete with this cycle

    Timing
    ------
    Combinational; a word a cycle, at most one tile.
    """

    def __init__(self, *, columns: int, dot_length: int, word_bytes: int) -> None:
        self.granule = granule_bytes(columns, dot_length, word_bytes)
        sizes = (word_bytes, columns * dot_length * INT4_BITS // 8, columns * dot_length * FP16_BITS // 8)
        self._word, self._int4_tile, self._fp16_tile = (size // self.granule for size in sizes)
        turned = {"from_previous": Out(self._fp16_tile), "previous": Out(word_bytes * 8)} if self._word > 1 else {}
        super().__init__({
            "operation": In(OPERATION), "start": In(1), "room": In(1), "stream": In(stream.Signature(word_bytes * 8)),
            "write": Out(self._fp16_tile), "word": Out(word_bytes * 8), **turned, "complete": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Gear of the stream, words in the order of the tile."""
        m = Module()
        gear, total, advance = self._fill(m)
        first = self._turn(m, advance)
        for j in range(self._fp16_tile):
            m.d.comb += self.write[j].eq(advance & (j < total) & (first | (j >= gear)))
        if self._word > 1:
            m.d.comb += [self.from_previous[j].eq(j < gear) for j in range(self._fp16_tile)]
        return m

    def _fill(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Take a word if the gear lacks something; count granules in the gear."""
        gear = Signal(range(self._fp16_tile + self._word), name="gear")
        total = Signal(range(self._fp16_tile + 2 * self._word), name="total")
        advance = Signal(name="advance")
        writable = named(m, self.room & takes(self.operation, TileSource.WEIGHT), "writable")
        need = Mux(self.operation.int4, self._int4_tile, self._fp16_tile)
        m.d.comb += [
            self.stream.ready.eq(writable & (gear < need)),
            advance.eq(writable & (self.stream.valid | (gear >= need))),
            total.eq(gear + Mux(gear < need, self._word, 0)),
            self.complete.eq(advance & (total >= need)),
        ]
        with m.If(self.start):
            m.d.sync += gear.eq(0)
        with m.Elif(advance):
            m.d.sync += gear.eq(Mux(self.complete, total - need, total))
        return gear, total, advance

    def _turn(self, m: Module, advance: Signal) -> Value:
        """Drive the words; return whether a tile begins.

        A tile may begin within a word: its granule j stands at place (phase + j) modulo a word's granules.
        """
        if self._word == 1:
            m.d.comb += self.word.eq(self.stream.payload)
            return Const(0)
        before = Signal(len(self.previous), name="word_before", reset_less=True)
        phase, first = Signal(range(self._word), name="phase"), Signal(name="tile_begins")
        self._follow(m, phase, first, advance)
        with m.If(self.stream.valid & self.stream.ready):
            m.d.sync += before.eq(self.stream.payload)
        size = self.granule * 8
        with m.Switch(phase):
            for places in range(self._word):
                with m.Case(places):
                    m.d.comb += [
                        target.eq(source.rotate_right(places * size))
                        for target, source in ((self.word, self.stream.payload), (self.previous, before))
                    ]
        return first

    def _follow(self, m: Module, phase: Signal, first: Signal, advance: Signal) -> None:
        """Advance the phase by a tile's granules."""
        n = self._word
        with m.If(self.start):
            m.d.sync += [phase.eq(0), first.eq(1)]
        with m.Elif(advance):
            m.d.sync += first.eq(self.complete)
        with m.If(self.complete):
            m.d.sync += phase.eq((phase + Mux(self.operation.int4, self._int4_tile % n, self._fp16_tile % n)) % n)
