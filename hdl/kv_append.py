"""KV append: executed K or V rows from the global buffer to their tokens' HBM ports, and into the bitmask."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.dma import routed_write_layout
from skipopu.hdl.global_buffer import read_signature
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.kv_append_gear import KvAppendGear
from skipopu.hdl.kv_append_layout import append_shape
from skipopu.hdl.kv_append_places import KvAppendPlaces
from skipopu.hdl.kv_append_tiles import KvAppendTiles
from skipopu.hdl.kv_append_writes import KvAppendWrites
from skipopu.hdl.kv_layout import index
from skipopu.hdl.row_list import GATES
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import WIDTH, Gate
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay


class KvAppend(Block):
    """Engine of APPEND_KV: a piece of every executed row in turn, each to the port of its token.

    Tokens of a layer take places in the order in which they execute: the n-th lies in port n modulo ports, in slot
    n // ports. K and V of a block take the same places. K marks every row of the block in the bitmask, one a cycle.

    Parameters
    ----------
    overlay : pe_array.dot_length, global_buffer, dma, bitmask, dataflow; map token_wise only

    Ports
    -----
    restart : in, a program begins: no token is appended; while nothing runs
    head, begins, running, blocked : in, leave : out, the engine's queue; steady from ``begins`` on
    list_gate, list_mask : out · executed : in, in the same cycle: rows of the head that execute
    read : a port of the global buffer
    write : out, stream of chunks and their ports, to the DMA; with the ``last`` of a burst the burst
    writes_pending : in, a write burst is not known to be acknowledged
    bit_mask, bit_row : out · row_bits : in, in the same cycle: bits of a row of the block, attention's lowest
    mask_write, mask_row, mask_token, mask_bit : out, a bit of the bitmask
    cause : out, what the cycle was for, as `skipopu.spec.ledger.Cause`

    Timing
    ------
    ``begins`` in cycle t: the first tile is asked for, and the first row marked, in t + 1. A chunk stands at ``write``
    ``global_buffer.read_stages`` + 1 cycles after its last tile is read; one a cycle, or one for the tiles that it
    takes. ``leave`` when all chunks have left, the last row is marked and nothing is pending; not with ``begins``.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._shape, kv = append_shape(overlay), append_shape(overlay).kv
        super().__init__({
            "restart": In(1), "head": In(INSTRUCTION), "begins": In(1), "running": In(1), "blocked": In(1),
            "leave": Out(1), "list_gate": Out(range(len(Gate))), "list_mask": Out(1), "executed": In(ROW_BITS),
            "read": Out(read_signature(overlay)),
            "write": Out(stream.Signature(routed_write_layout(kv.ports, kv.ratio))), "writes_pending": In(1),
            "bit_mask": Out(1), "bit_row": Out(ROW_BITS), "row_bits": In(len(GATES)),
            "mask_write": Out(1), "mask_row": Out(index(kv.rows)), "mask_token": Out(index(kv.tokens)),
            "mask_bit": Out(1), "cause": Out(index(len(Cause))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Tiles in, chunks out, marks beside them."""
        m = Module()
        gear = self._read(m)
        writes = self._write(m, gear)
        marking, marked = self._mark(m)
        m.d.comb += [
            self.list_gate.eq(self.head.gate), self.list_mask.eq(self.head.mask),
            self.leave.eq(self._finished(writes, marked)),
        ]  # fmt: skip
        self._cause(m, writes, marking)
        return m

    def _finished(self, writes: Any, marked: Value) -> Value:
        return self.running & ~writes.left & marked & ~self.writes_pending

    def _read(self, m: Module) -> Any:
        """Ask for tiles as far as there is room."""
        tiles = place(m, "tiles", KvAppendTiles(shape=self._shape))
        gear = place(m, "gear", KvAppendGear(shape=self._shape))
        m.d.comb += [
            tiles.head.eq(self.head), tiles.start.eq(self.begins), tiles.executed.eq(self.executed),
            self.read.valid.eq(tiles.valid & gear.room), self.read.address.eq(tiles.address),
            tiles.taken.eq(self.read.valid & self.read.granted), gear.asked.eq(tiles.taken),
            gear.tile.eq(self.read.data),
        ]  # fmt: skip
        return gear

    def _write(self, m: Module, gear: Any) -> Any:
        """Give chunks their places; behind V the layer's next place is further on."""
        writes = place(m, "writes", KvAppendWrites(shape=self._shape))
        places = place(m, "places", KvAppendPlaces(shape=self._shape))
        write, chunk = self.write, self.write.payload.chunk
        m.d.comb += [
            writes.head.eq(self.head), writes.start.eq(self.begins), writes.executed.eq(self.executed),
            writes.place.eq(places.place), writes.taken.eq(write.valid & write.ready),
            write.valid.eq(gear.chunk.valid), gear.chunk.ready.eq(write.ready), write.payload.port.eq(writes.port),
            chunk.data.eq(gear.chunk.payload), chunk.last.eq(writes.last), chunk.burst.eq(writes.burst),
            places.restart.eq(self.restart), places.layer.eq(self.head.layer), places.following.eq(writes.following),
            places.advance.eq(writes.taken & writes.over & self._advances()),
        ]  # fmt: skip
        return writes

    def _advances(self) -> Value:
        value: Value = self.head.value
        return value

    def _mark(self, m: Module) -> tuple[Value, Value]:
        """A row of the block a cycle; return whether one is marked, and whether it is the last or none is left."""
        row, left = Signal(ROW_BITS, name="marked"), Signal(WIDTH["rows"], name="marks_left")
        marking = left.any()
        with m.If(self.begins):
            m.d.sync += [row.eq(0), left.eq(Mux(self.head.value, 0, self.head.rows))]
        with m.Elif(marking):
            m.d.sync += [row.eq(row + 1), left.eq(left - 1)]
        m.d.comb += [
            self.bit_mask.eq(self.head.mask), self.bit_row.eq(row), self.mask_write.eq(marking),
            self.mask_row.eq(self.head.layer), self.mask_token.eq(self.head.tokens - left),
            self.mask_bit.eq(self._executes()),
        ]  # fmt: skip
        return marking, left <= 1

    def _executes(self) -> Value:
        """Where K has no gate it executes for every row."""
        return (self.head.gate == Gate.ALL) | self.row_bits[0]

    def _cause(self, m: Module, writes: Any, marking: Value) -> None:
        with m.If(~self.running):
            waits = Mux(self.blocked, Cause.SEMAPHORE, Cause.IDLE)
            m.d.comb += self.cause.eq(Mux(self.begins, Cause.BUSY, waits))
        with m.Elif(self.write.valid):
            m.d.comb += self.cause.eq(Mux(self.write.ready, Cause.BUSY, Cause.HBM))
        with m.Elif(self.read.valid & self.read.granted):
            m.d.comb += self.cause.eq(Cause.BUSY)
        with m.Elif(writes.left):
            m.d.comb += self.cause.eq(Cause.ROWS)
        with m.Else():
            m.d.comb += self.cause.eq(Mux(marking, Cause.BUSY, Cause.DRAINING))
