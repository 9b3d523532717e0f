"""KER: control of the weight tile buffer. One half loads from its stream while the other multiplies."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.ker_bank import HALVES
from skipopu.hdl.ker_pieces import KerPieces
from skipopu.hdl.ker_words import KerWords
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.tile_loop import OPERATION, TileLoop, takes_keys
from skipopu.hdl.verilog import Block, place
from skipopu.spec.ker_shape import KerShape

WORD_PORTS = ("write", "word", "from_previous", "previous")  # of `KerWords` that are KER's own
PIECE_PORTS = ("chunk_valid", "word_valid", "chunk_ready", "word_ready", "begins", "piece_write", "segment")


class Ker(Block):
    """Take tiles from the streams and say what of which half is written, and which half is read.

    The weights themselves lie with the columns, in `KerBank`.

    Parameters
    ----------
    shape : sizes of tiles and chunks
    word_bytes : bytes of the words of weights
    broadcast_stages : cycles from a row's issue to its use at the columns

    Ports
    -----
    operation : in, loop bounds and format, steady while ``active``
    start, active : in, first cycle of an operation is the one after ``start``
    stream, write, word, from_previous, previous : of `KerWords`, weights
    chunk_valid, word_valid, chunk_ready, word_ready, begins, piece_write, segment : of `KerPieces`, K/V and constants
    chunk_end (1) : in, the chunk is the last one of the operation
    tile_done : in, the last row of a tile is issued
    loaded : out, the tile that the next row needs is there
    ends (1) : out, it is the operation's last tile: by its loop bounds; of K, by the last chunk
    fill_half : out, the half that is written
    read_half, read_int4 : out, half and format of the row issued ``broadcast_stages`` cycles ago

    Timing
    ------
    A tile can be used from the cycle after its last word or piece. A half can be written ``broadcast_stages`` cycles
    after its last row was issued. Initiation interval: one word or piece a cycle, at most one tile.
    """

    def __init__(self, *, shape: KerShape, word_bytes: int, broadcast_stages: int) -> None:
        self._broadcast, self._pieces = broadcast_stages, KerPieces(shape=shape)
        self._words = KerWords(columns=shape.columns, dot_length=shape.dot_length, word_bytes=word_bytes)
        words, pieces = self._words.signature.members, self._pieces.signature.members
        super().__init__({
            "operation": In(OPERATION), "start": In(1), "active": In(1), "stream": words["stream"],
            **{name: words[name] for name in WORD_PORTS if name in words},
            **{name: pieces[name] for name in PIECE_PORTS}, "chunk_end": In(1),
            "tile_done": In(1), "loaded": Out(1), "ends": Out(1),
            "fill_half": Out(1), "read_half": Out(1), "read_int4": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Control of the halves round what fills them."""
        m = Module()
        used, loop = self._half_in_use(m), TileLoop(m, self.operation, by_tile=True)
        room, complete = Signal(name="room"), Signal(name="complete")
        words, pieces = self._words_in(m, room), self._pieces_in(m, room, loop)
        m.d.comb += complete.eq(words.complete | pieces.complete)
        half = self._fill(m, used, loop, room, complete)
        m.d.comb += [
            self.fill_half.eq(half),
            self.read_half.eq(delayed(m, used, self._broadcast, "used_half")),
            self.read_int4.eq(delayed(m, self.operation.int4, self._broadcast, "used_int4")),
        ]
        return m

    def _words_in(self, m: Module, room: Signal) -> Any:
        words = place(m, "words", self._words)
        connect(m, flipped(self.stream), words.stream)
        m.d.comb += [words.operation.eq(self.operation), words.start.eq(self.start), words.room.eq(room)]
        m.d.comb += [getattr(self, name).eq(getattr(words, name)) for name in WORD_PORTS if hasattr(words, name)]
        return words

    def _pieces_in(self, m: Module, room: Signal, loop: TileLoop) -> Any:
        pieces = place(m, "pieces", self._pieces)
        m.d.comb += [
            pieces.operation.eq(self.operation), pieces.start.eq(self.start), pieces.room.eq(room),
            pieces.last.eq(loop.last),
        ]  # fmt: skip
        for name in PIECE_PORTS:
            mine, its = getattr(self, name), getattr(pieces, name)
            m.d.comb += its.eq(mine) if self.signature.members[name].flow == In else mine.eq(its)
        return pieces

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

    def _fill(self, m: Module, used: Signal, loop: TileLoop, room: Signal, complete: Signal) -> Signal:
        """While a half is empty and the operation has tiles left, there is room; return the half to be written."""
        half, over = Signal(name="fill_half"), Signal(name="all_loaded")
        empty = named(m, self._empty(m, used, half, complete, over), "empty")
        m.d.comb += room.eq(self.active & ~over & empty)
        with m.If(self.start):
            m.d.sync += [half.eq(0), over.eq(0)]
            loop.start()
        with m.Elif(complete):
            m.d.sync += [half.eq(self._other(half)), over.eq(self._is_last(loop))]
            loop.advance()
        return half

    def _is_last(self, loop: TileLoop) -> Value:
        """No tile follows: of K, nobody has counted the rounds."""
        return Mux(takes_keys(self.operation), self.chunk_end & self.chunk_ready, loop.last)

    def _empty(self, m: Module, used: Signal, half: Signal, complete: Signal, over: Signal) -> Value:
        """The half to be written holds nothing that a row still needs, from the very cycle of its last use on."""
        loaded, occupied = Signal(HALVES, name="loaded_halves"), Signal(HALVES, name="occupied_halves")
        released = Signal(HALVES, name="released_halves")
        done = delayed(m, self.tile_done, self._broadcast, "done")
        done_half = delayed(m, used, self._broadcast, "done_half")
        m.d.comb += [
            self.loaded.eq(loaded.bit_select(used, 1)), self.ends.eq(over & ~loaded.bit_select(~used, 1)),
            released.eq(Cat(done & ~done_half, done & done_half)),
        ]  # fmt: skip
        m.d.sync += occupied.eq(occupied & ~released)
        with m.If(self.tile_done):
            m.d.sync += loaded.bit_select(used, 1).eq(0)
        with m.If(complete):
            m.d.sync += [loaded.bit_select(half, 1).eq(1), occupied.bit_select(half, 1).eq(1)]
        return (~occupied | released).bit_select(half, 1)
