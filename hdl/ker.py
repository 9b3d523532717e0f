"""KER: control of the weight tile buffer. One half loads from its stream while the other multiplies."""

import math
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import FP16_BITS
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.tile_loop import OPERATION, TileLoop
from skipopu.hdl.verilog import Block
from skipopu.spec.number_format import INT4_BITS

HALVES = 2


def granule_bytes(columns: int, dot_length: int, word_bytes: int) -> int:
    """Bytes in which everything in KER moves: tiles of both formats and words are whole numbers of them."""
    weights = columns * dot_length
    return math.gcd(word_bytes, weights * INT4_BITS // 8, weights * FP16_BITS // 8)


class Ker(Block):
    """Take tiles from the stream and say which granule of which half is written, and which half is read.

    The weights themselves lie with the columns, in `KerBank`; a granule is what tiles and words divide into.

    Parameters
    ----------
    columns, dot_length : the tile
    word_bytes : bytes of the stream's words
    broadcast_stages : cycles from a row's issue to its use at the columns

    Ports
    -----
    operation : in, loop bounds and format, steady while ``active``
    start, active : in, first cycle of an operation is the one after ``start``
    stream : in, words of weights, tile after tile, column-major, INT4 low nibble first
    tile_done : in, the last row of a tile is issued
    loaded : out, the tile that the next row needs is there
    write : out, a bit a granule of an FP16 tile: written in this cycle; granule j is found in ``word`` at place j
        modulo a word's granules
    word : out, the stream's word, turned to where the tile begins
    from_previous, previous : out, where words hold several granules: those that come from the word before, that word
    fill_half : out, the half that is written
    read_half, read_int4 : out, half and format of the row issued ``broadcast_stages`` cycles ago

    Timing
    ------
    A tile can be used from the cycle after its last word. A half can be written ``broadcast_stages`` cycles after
    its last row was issued. Initiation interval: one word a cycle, at most one tile.
    """

    def __init__(self, *, columns: int, dot_length: int, word_bytes: int, broadcast_stages: int) -> None:
        self._broadcast = broadcast_stages
        self.granule = granule_bytes(columns, dot_length, word_bytes)
        sizes = (word_bytes, columns * dot_length * INT4_BITS // 8, columns * dot_length * FP16_BITS // 8)
        self._word, self._int4_tile, self._fp16_tile = (size // self.granule for size in sizes)
        turned = {"from_previous": Out(self._fp16_tile), "previous": Out(word_bytes * 8)} if self._word > 1 else {}
        super().__init__({
            "operation": In(OPERATION), "start": In(1), "active": In(1),
            "stream": In(stream.Signature(word_bytes * 8)), "tile_done": In(1), "loaded": Out(1),
            "write": Out(self._fp16_tile), "word": Out(word_bytes * 8), **turned,
            "fill_half": Out(1), "read_half": Out(1), "read_int4": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Control of the halves, gear of the stream, words in the order of the tile."""
        m = Module()
        used = self._half_in_use(m)
        half, gear, total, advance, complete = self._fill(m, used)
        first = self._turn(m, advance, complete)
        for j in range(self._fp16_tile):
            m.d.comb += self.write[j].eq(advance & (j < total) & (first | (j >= gear)))
        if self._word > 1:
            m.d.comb += [self.from_previous[j].eq(j < gear) for j in range(self._fp16_tile)]
        m.d.comb += [
            self.fill_half.eq(half),
            self.read_half.eq(delayed(m, used, self._broadcast, "used_half")),
            self.read_int4.eq(delayed(m, self.operation.int4, self._broadcast, "used_int4")),
        ]
        return m

    def _half_in_use(self, m: Module) -> Signal:
        """Count the tiles that the rows have gone through, modulo 2."""
        used = Signal(name="used_half")
        with m.If(self.start):
            m.d.sync += used.eq(0)
        with m.Elif(self.tile_done):
            m.d.sync += used.eq(self._other(used))
        return used

    def _other(self, half: Value) -> Value:
        return ~half

    def _fill(self, m: Module, used: Signal) -> tuple[Signal, Signal, Signal, Signal, Signal]:
        """Take words while a half is empty and the operation has tiles left; count granules in the gear."""
        loop = TileLoop(m, self.operation, by_tile=True)
        half, gear = Signal(name="fill_half"), Signal(range(self._fp16_tile + self._word), name="gear")
        total = Signal(range(self._fp16_tile + 2 * self._word), name="total")
        over, advance, complete = Signal(name="all_loaded"), Signal(name="advance"), Signal(name="complete")
        need = Mux(self.operation.int4, self._int4_tile, self._fp16_tile)
        writable = Signal(name="writable")
        m.d.comb += [
            writable.eq(self.active & ~over & self._empty(m, used, half, complete)),
            self.stream.ready.eq(writable & (gear < need)),
            advance.eq(writable & (self.stream.valid | (gear >= need))),
            total.eq(gear + Mux(gear < need, self._word, 0)),
            complete.eq(advance & (total >= need)),
        ]
        with m.If(self.start):
            m.d.sync += [half.eq(0), gear.eq(0), over.eq(0)]
            loop.start()
        with m.Elif(advance):
            m.d.sync += gear.eq(Mux(complete, total - need, total))
        with m.If(complete):
            m.d.sync += [half.eq(self._other(half)), over.eq(loop.last)]
            loop.advance()
        return half, gear, total, advance, complete

    def _empty(self, m: Module, used: Signal, half: Signal, complete: Signal) -> Value:
        """The half to be written holds nothing that a row still needs, from the very cycle of its last use on."""
        loaded, occupied = Signal(HALVES, name="loaded_halves"), Signal(HALVES, name="occupied_halves")
        released = Signal(HALVES, name="released_halves")
        done = delayed(m, self.tile_done, self._broadcast, "done")
        done_half = delayed(m, used, self._broadcast, "done_half")
        m.d.comb += [
            self.loaded.eq(loaded.bit_select(used, 1)),
            released.eq(Cat(done & ~done_half, done & done_half)),
        ]
        m.d.sync += occupied.eq(occupied & ~released)
        with m.If(self.tile_done):
            m.d.sync += loaded.bit_select(used, 1).eq(0)
        with m.If(complete):
            m.d.sync += [loaded.bit_select(half, 1).eq(1), occupied.bit_select(half, 1).eq(1)]
        return (~occupied | released).bit_select(half, 1)

    def _turn(self, m: Module, advance: Signal, complete: Signal) -> Value:
        """Drive the words; return whether a tile begins.

        A tile may begin within a word: its granule j stands at place (phase + j) modulo a word's granules.
        """
        if self._word == 1:
            m.d.comb += self.word.eq(self.stream.payload)
            return Const(0)
        before = Signal(len(self.previous), name="word_before", reset_less=True)
        phase, first = Signal(range(self._word), name="phase"), Signal(name="tile_begins")
        self._follow(m, phase, first, advance, complete)
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

    def _follow(self, m: Module, phase: Signal, first: Signal, advance: Signal, complete: Signal) -> None:
        """Advance the phase by a tile's granules."""
        n = self._word
        with m.If(self.start):
            m.d.sync += [phase.eq(0), first.eq(1)]
        with m.Elif(advance):
            m.d.sync += first.eq(complete)
        with m.If(complete):
            m.d.sync += phase.eq((phase + Mux(self.operation.int4, self._int4_tile % n, self._fp16_tile % n)) % n)
