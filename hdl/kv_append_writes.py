"""KV append writes: the port and the burst of every chunk."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.kv_append_layout import AppendShape, chunk_address, piece_tiles, place_layout, whole_chunks
from skipopu.hdl.kv_layout import VECTOR_BITS, index
from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block


class KvAppendWrites(Block):
    """A piece of every executed row, then the next piece of every row; a piece is one burst, or a few.

    A burst ends with its piece, after as many chunks as it can have, counted from the vector's beginning, and before a
    4 KiB boundary.

    Parameters
    ----------
    shape : sizes of KV append

    Ports
    -----
    head : in, APPEND_KV, steady from ``start`` on
    start, executed : in, first cycle of an operation; rows that execute
    place : in, with ``start``, that of the first row
    left : out, chunks are left to be written
    port, last, burst : out, of the next chunk; ``burst``, whole with ``last``
    taken : in, go on to the next chunk
    over, following : out, with ``taken``: it was the operation's last chunk; place behind the last row

    Timing
    ------
    ``left`` from the cycle after ``start``; all outputs are those of the next chunk in the cycle after ``taken``.
    """

    def __init__(self, *, shape: AppendShape) -> None:
        self._shape, layout = shape, place_layout(shape)
        super().__init__({
            "head": In(INSTRUCTION), "start": In(1), "executed": In(ROW_BITS), "place": In(layout),
            "left": Out(1), "port": Out(index(shape.kv.ports)), "last": Out(1),
            "burst": Out(burst_layout(shape.kv.ratio)), "taken": In(1), "over": Out(1), "following": Out(layout),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Chunk of the piece, row, piece; beside them the row's place and the burst."""
        m = Module()
        left, before = Signal(VECTOR_BITS, name="chunks_left"), Signal(VECTOR_BITS, name="chunks_before")
        sent, row = Signal(VECTOR_BITS, name="sent"), Signal(ROW_BITS, name="row")
        piece = Signal(VECTOR_BITS, name="piece")
        last_chunk, last_row = Signal(name="last_chunk"), Signal(name="last_row")
        vector, full = self._sizes(m)
        m.d.comb += [
            piece.eq(Mux(left < full, left, full)), last_chunk.eq(sent == piece - 1),
            last_row.eq(row == self.executed - 1), self.left.eq(left.any()),
            self.over.eq(last_chunk & last_row & (left == piece)),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [left.eq(Mux(self.executed.any(), vector, 0)), before.eq(0), sent.eq(0), row.eq(0)]
        with m.Elif(self.taken):
            m.d.sync += sent.eq(Mux(last_chunk, 0, sent + 1))
            with m.If(last_chunk):
                m.d.sync += row.eq(Mux(last_row, 0, row + 1))
            with m.If(last_chunk & last_row):
                m.d.sync += [left.eq(left - piece), before.eq(before + piece)]
        offset = self._place(m, vector, last_chunk, last_row)
        self._burst(m, offset, before + sent, last_chunk)
        return m

    def _sizes(self, m: Module) -> tuple[Signal, Signal]:
        """Chunks of a vector, and of a piece that is not the last."""
        vector, full = Signal(VECTOR_BITS, name="vector"), Signal(VECTOR_BITS, name="full_piece")
        m.d.comb += [
            vector.eq(whole_chunks(self._shape, self.head.k_tiles)),
            full.eq(whole_chunks(self._shape, piece_tiles(self._shape, self.head))),
        ]  # fmt: skip
        return vector, full

    def _place(self, m: Module, vector: Signal, last_chunk: Signal, last_row: Signal) -> Signal:
        """Round-robin over the ports; every piece begins with the first row again. Return the row's offset."""
        layout = place_layout(self._shape)
        now, first = Signal(layout, name="row_place"), Signal(layout, name="first_place")
        wraps = now.port == self._shape.kv.ports - 1
        m.d.comb += [
            self.port.eq(now.port), self.following.port.eq(Mux(wraps, 0, now.port + 1)),
            self.following.offset.eq(now.offset + Mux(wraps, vector, 0)),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [now.eq(self.place), first.eq(self.place)]
        with m.Elif(self.taken & last_chunk):
            m.d.sync += now.eq(Mux(last_row, first, self.following))
        offset: Signal = now.offset
        return offset

    def _burst(self, m: Module, offset: Value, chunk_of_vector: Value, last_chunk: Signal) -> None:
        """Address and length of the burst that the chunk belongs to, as far as it has come."""
        kv, count = self._shape.kv, Signal(data.StructLayout.cast(self.burst.shape())["chunks"].width, name="chunks")
        address, chunk = Signal(kv.address_bits, name="address"), Signal(VECTOR_BITS, name="chunk_of_vector")
        m.d.comb += [
            chunk.eq(chunk_of_vector), address.eq(chunk_address(self._shape, self.head) + offset + chunk),
            self.last.eq(last_chunk | self._full(chunk) | self._boundary(address)),
            self.burst.address.eq(address - count), self.burst.chunks.eq(count + 1),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += count.eq(0)
        with m.Elif(self.taken):
            m.d.sync += count.eq(Mux(self.last, 0, count + 1))

    def _full(self, chunk: Signal) -> Value:
        """The chunk is the last that a burst can have."""
        most = self._shape.kv.burst_chunks
        return chunk % most == most - 1

    def _boundary(self, address: Signal) -> Value:
        """The next chunk lies behind 4 KiB."""
        page = self._shape.kv.boundary_chunks
        return address % page == page - 1
