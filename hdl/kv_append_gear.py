"""KV append gear: row tiles of the global buffer become chunks of HBM."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.kv_append_layout import AppendShape
from skipopu.hdl.verilog import Block, place


class KvAppendGear(Block):
    """Keep the tiles that were asked for and cut them into chunks; a chunk that takes several tiles is gathered first.

    Parameters
    ----------
    shape : sizes of KV append

    Ports
    -----
    room : out, a tile may be asked for
    asked : in, it is: the global buffer reads it in this cycle
    tile : in, what it has read, ``read_stages`` later
    chunk : out, stream, the bytes in the order of the tiles

    Timing
    ------
    A chunk whose last tile is asked for in cycle t stands at the output from t + read_stages + 1 on, unless others are
    before it. A word that leaves with its last chunk in t makes room in t + 1.
    """

    def __init__(self, *, shape: AppendShape) -> None:
        self._shape = shape
        super().__init__({
            "room": Out(1), "asked": In(1), "tile": In(shape.tile_bytes * 8),
            "chunk": Out(stream.Signature(shape.kv.chunk_bits)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Credits, the queue of words, and both its ends."""
        m, shape = Module(), self._shape
        queue = place(m, "words", Fifo(bits=shape.word_bits, depth=shape.words))
        moves = Signal(name="moves")
        m.d.comb += [
            self.chunk.valid.eq(~queue.empty), moves.eq(self.chunk.valid & self.chunk.ready),
            queue.read.eq(self._cut(m, queue.head, moves)),
        ]  # fmt: skip
        self._gather(m, queue)
        self._credit(m, queue.read)
        return m

    def _arrives(self, m: Module) -> Value:
        """The tile stands there in this cycle."""
        way: Value = self.asked
        for stage in range(1, self._shape.read_stages + 1):
            register = Signal(name=f"arrives_{stage}")
            m.d.sync += register.eq(way)
            way = register
        return way

    def _gather(self, m: Module, queue: Any) -> None:
        """All tiles but a word's last wait in a register."""
        tiles, arrives = self._shape.chunk_tiles, self._arrives(m)
        if tiles == 1:
            m.d.comb += [queue.write.eq(arrives), queue.write_data.eq(self.tile)]
            return
        count = Signal(range(tiles), name="tile_of_word")
        earlier = Signal((tiles - 1) * len(self.tile), name="earlier_tiles", reset_less=True)
        with m.If(arrives):
            m.d.sync += [count.eq(count + 1), earlier.eq(Cat(earlier, self.tile)[len(self.tile) :])]
        m.d.comb += [queue.write.eq(arrives & (count == tiles - 1)), queue.write_data.eq(Cat(earlier, self.tile))]

    def _cut(self, m: Module, word: Value, moves: Signal) -> Value:
        """Chunk after chunk of the oldest word; return whether the last one moves."""
        chunks, bits = self._shape.tile_chunks, self._shape.kv.chunk_bits
        if chunks == 1:
            m.d.comb += self.chunk.payload.eq(word)
            return moves
        count = Signal(range(chunks), name="chunk_of_word")
        m.d.sync += count.eq(count + moves)
        m.d.comb += self.chunk.payload.eq(word.word_select(count, bits))
        return moves & (count == chunks - 1)

    def _credit(self, m: Module, freed: Value) -> None:
        """Tiles asked for that have not left."""
        tiles, most = self._shape.chunk_tiles, self._most()
        ahead = Signal(range(self._shape.words * tiles + 1), name="tiles_ahead")
        m.d.sync += ahead.eq(ahead + self.asked - Mux(freed, tiles, 0))
        m.d.comb += self.room.eq(ahead < most)

    def _most(self) -> int:
        return self._shape.words * self._shape.chunk_tiles
