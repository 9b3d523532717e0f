"""KER: the weight tile buffer. One half loads from its stream while the PE array works with the other."""

import math
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import FP16_BITS
from skipopu.hdl.pe import INT4_BITS
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.tile_loop import OPERATION, TileLoop
from skipopu.hdl.verilog import Block

HALVES = 2


class Ker(Block):
    """Two halves of registers for a tile of ``dot_length`` × ``columns`` weights each, filled column by column.

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
    weight : out, columns × dot_length × 16 bits, the tile of the row issued ``broadcast_stages`` cycles ago

    Timing
    ------
    A tile can be used from the cycle after its last word. A half can be written ``broadcast_stages`` cycles after
    its last row was issued. Initiation interval: one word a cycle, at most one tile.
    """

    def __init__(self, *, columns: int, dot_length: int, word_bytes: int, broadcast_stages: int) -> None:
        self._columns, self._length, self._broadcast = columns, dot_length, broadcast_stages
        weights = columns * dot_length
        sizes = weights * INT4_BITS // 8, weights * FP16_BITS // 8
        self._granule = math.gcd(word_bytes, *sizes)  # bytes; everything in here moves in granules
        self._word, self._int4_tile, self._fp16_tile = (n // self._granule for n in (word_bytes, *sizes))
        super().__init__({
            "operation": In(OPERATION), "start": In(1), "active": In(1),
            "stream": In(stream.Signature(word_bytes * 8)),
            "tile_done": In(1), "loaded": Out(1), "weight": Out(data.ArrayLayout(FP16_BITS, weights)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Control of the halves, gear of the stream, storage."""
        m = Module()
        used = self._half_in_use(m)
        halves = self._store(m, *self._fill(m, used))
        self._read(m, halves, used)
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

    def _store(
        self, m: Module, half: Signal, gear: Signal, total: Signal, advance: Signal, complete: Signal
    ) -> list[Any]:
        """Write what the gear and the word hold of the tile into its granules; return both halves."""
        layout = data.ArrayLayout(self._granule * 8, self._fp16_tile)
        halves = [Signal(layout, name=f"half{i}", reset_less=True) for i in range(HALVES)]
        word, rest, first = self._placed_words(m, advance, complete)
        for j in range(self._fp16_tile):
            write = advance & (j < total) & (first | (j >= gear))
            source = Mux(j < gear, rest[j % self._word], word[j % self._word])
            for i in range(HALVES):
                with m.If(write & (half == i)):
                    m.d.sync += halves[i][j].eq(source)
        return halves

    def _placed_words(self, m: Module, advance: Signal, complete: Signal) -> tuple[list[Value], list[Value], Value]:
        """Return the word and the one before it in the order of the tile's granules, and whether a tile begins.

        A tile may begin within a word: granule j of it stands at place (phase + j) modulo a word's granules.
        """
        n, size = self._word, self._granule * 8
        word = [self.stream.payload[i * size : (i + 1) * size] for i in range(n)]
        if n == 1:
            return word, word, Const(0)
        before = Signal(n * size, name="word_before", reset_less=True)
        phase, first = Signal(range(n), name="phase"), Signal(name="tile_begins")
        self._follow(m, phase, first, advance, complete)
        with m.If(self.stream.valid & self.stream.ready):
            m.d.sync += before.eq(self.stream.payload)
        rest = [before[i * size : (i + 1) * size] for i in range(n)]
        return self._rotated(m, word, phase, "word"), self._rotated(m, rest, phase, "rest"), first

    def _follow(self, m: Module, phase: Signal, first: Signal, advance: Signal, complete: Signal) -> None:
        """Advance the phase by a tile's granules."""
        n = self._word
        with m.If(self.start):
            m.d.sync += [phase.eq(0), first.eq(1)]
        with m.Elif(advance):
            m.d.sync += first.eq(complete)
        with m.If(complete):
            m.d.sync += phase.eq((phase + Mux(self.operation.int4, self._int4_tile % n, self._fp16_tile % n)) % n)

    def _rotated(self, m: Module, granules: list[Value], phase: Signal, name: str) -> list[Value]:
        n = self._word
        out = [Signal(self._granule * 8, name=f"{name}_{i}") for i in range(n)]
        with m.Switch(phase):
            for shift in range(n):
                with m.Case(shift):
                    m.d.comb += [out[i].eq(granules[(shift + i) % n]) for i in range(n)]
        return out

    def _read(self, m: Module, halves: list[Any], used: Signal) -> None:
        """Weights of the half that the row at the columns needs."""
        half = delayed(m, used, self._broadcast, "read_half")
        int4 = delayed(m, self.operation.int4, self._broadcast, "read_int4")
        tile = Signal(self._fp16_tile * self._granule * 8, name="tile")
        m.d.comb += tile.eq(Mux(half, halves[1].as_value(), halves[0].as_value()))
        for i in range(self._columns * self._length):
            of_int4 = tile[i * INT4_BITS : (i + 1) * INT4_BITS]
            m.d.comb += self.weight[i].eq(Mux(int4, of_int4, tile[i * FP16_BITS : (i + 1) * FP16_BITS]))
