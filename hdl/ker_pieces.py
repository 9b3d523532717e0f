"""KER pieces: tiles made of what stands at a stream's output, which stays there until its last tile is complete."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import OPERATION, takes
from skipopu.hdl.verilog import Block
from skipopu.spec.ker_shape import LOGITS, KerShape
from skipopu.spec.tile_source import TileSource


class KerPieces(Block):
    """Which piece of a tile of K, V or router weights is written, from which part of the chunk or word.

    A tile takes several chunks, or a chunk has several tiles.

    Parameters
    ----------
    shape : of `ker_shape`

    Ports
    -----
    operation : in, steady while it runs
    start (1) : in, its first cycle is the one after
    room (1) : in, a half can be written
    last (1) : in, the tile is the operation's last one, by its loop bounds
    chunk_valid, word_valid (1) : in, chunks of K/V, a word of router weights stand at their streams' outputs
    chunk_ready, word_ready (1) : out, they are used up in this cycle
    piece_write : out, a bit a piece: it is written in this cycle
    segment : out, which tile of the chunk or word that is
    begins, complete (1) : out, the piece is the tile's first, its last

    Timing
    ------
    Combinational; a piece a cycle.
    """

    def __init__(self, *, shape: KerShape) -> None:
        self._shape = shape
        super().__init__({
            "operation": In(OPERATION), "start": In(1), "room": In(1), "last": In(1),
            "chunk_valid": In(1), "word_valid": In(1), "chunk_ready": Out(1), "word_ready": Out(1),
            "piece_write": Out(shape.pieces), "segment": Out(range(max(shape.segments, 2))),
            "begins": Out(1), "complete": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A counter of pieces, a counter of segments."""
        m = Module()
        constant = named(m, takes(self.operation, TileSource.CONSTANT), "of_constants")
        token = named(m, takes(self.operation, TileSource.KV), "of_tokens")
        there = named(m, (token & self.chunk_valid) | (constant & self.word_valid), "there")
        taken = named(m, self.room & there, "taken")
        last_piece, used_up = self._count(m, taken, constant)
        m.d.comb += [
            self.complete.eq(taken & last_piece), self.chunk_ready.eq(self.room & token & used_up),
            self.word_ready.eq(self.room & constant & self._word_done(used_up, last_piece)),
        ]  # fmt: skip
        return m

    def _count(self, m: Module, taken: Value, constant: Value) -> tuple[Value, Value]:
        """Return whether the piece is the tile's last, and whether the segment is the chunk's last."""
        shape = self._shape
        piece = Signal(range(max(shape.pieces, 2)), name="piece")
        last_piece = named(m, piece == self._pieces(constant) - 1, "last_piece")
        used_up = named(m, self.segment == self._segments(constant) - 1, "used_up")
        with m.If(self.start):
            m.d.sync += [piece.eq(0), self.segment.eq(0)]
        with m.Elif(taken):
            m.d.sync += [
                piece.eq(self._next_piece(piece, last_piece)), self.segment.eq(Mux(used_up, 0, self.segment + 1))
            ]  # fmt: skip
        m.d.comb += [self.piece_write[n].eq(taken & (piece == n)) for n in range(shape.pieces)]
        m.d.comb += self.begins.eq(self._begins())
        return last_piece, used_up

    def _word_done(self, used_up: Value, last_piece: Value) -> Value:
        """What the operation's last tile leaves of a word is of no use."""
        return used_up | (last_piece & self.last)

    def _begins(self) -> Value:
        return self.piece_write[0]

    def _next_piece(self, piece: Value, last: Value) -> Value:
        return Mux(last, 0, piece + 1)

    def _pieces(self, constant: Value) -> Value:
        """Pieces of a tile."""
        shape, o = self._shape, self.operation
        chunks = o.width[shape.chunk.bit_length() - 1 :]
        value = chunks if shape.columns >= shape.chunk else 1
        return Mux(constant, self._by_logits(shape.constant_pieces), Mux(o.value, value, shape.key_pieces))

    def _segments(self, constant: Value) -> Value:
        """Tiles of a chunk or word."""
        shape = self._shape
        token = Mux(self.operation.value, shape.value_segments, shape.key_segments)
        return Mux(constant, self._by_logits(shape.constant_segments), token)

    def _by_logits(self, count: Any) -> Value:
        few, many = LOGITS
        return Mux(self.operation.width == many, count(many), count(few))
