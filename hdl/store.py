"""Store engine: global buffer → DDR4."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.ddr_burst import BURST, DdrBursts
from skipopu.hdl.ddr_ports import WORD_BYTES
from skipopu.hdl.engine import ENGINE_PORTS, executed_rows, waiting_cause
from skipopu.hdl.global_buffer import read_signature
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.pipeline import named
from skipopu.hdl.place_counter import PlaceCounter
from skipopu.hdl.transfer_amount import TILES_BITS, TransferAmount, words_bits
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.word_gather import WordGather
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import DDR_CHANNELS, STORE_BEATS, Overlay


class Store(Block):
    """Move the head of the store queue: row tiles out of the global buffer, into the write FIFOs, in bursts to DDR4.

    Parameters
    ----------
    overlay : pe_array.dot_length, global_buffer

    Ports
    -----
    head, begins, running, blocked, leave, list_gate, list_mask, executed, rounds, cause : see `ENGINE_PORTS`
    read : out, reads of the global buffer
    row_valid (1), row : out, words for the write FIFOs
    burst : out, stream of BURST, to all channels: its words are in the FIFOs
    sent : in, a bit a channel: a beat has left its FIFO
    writes_pending : in, a burst is not acknowledged

    Timing
    ------
    The first tile is asked for TRANSFER_STAGES cycles after ``begins``; a tile a cycle while the FIFOs have room. A
    burst can be asked for from the cycle after its last word was written on. ``leave`` when none is unacknowledged.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._tile, self._stages = overlay, overlay.tile_bytes, overlay.global_buffer.read_stages
        self._unit = min(self._tile, WORD_BYTES)  # bytes in which the room in the FIFOs is counted
        super().__init__({
            **ENGINE_PORTS, "read": Out(read_signature(overlay)),
            "row_valid": Out(1), "row": Out(max(self._tile, WORD_BYTES) * 8),
            "burst": Out(stream.Signature(BURST)), "sent": In(DDR_CHANNELS), "writes_pending": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Amount; tiles; words; bursts; the end."""
        m = Module()
        active, left = Signal(name="active"), Signal(TILES_BITS, name="tiles_left")
        amount = self._amount(m)
        with m.If(amount.known | self.leave):
            m.d.sync += active.eq(~self.leave)
        fires = self._read(m, amount, active, left)
        self._gather(m, fires, named(m, fires & (left == 1), "last_tile"))
        bursts = self._request(m, amount)
        m.d.comb += self.leave.eq(active & self._done(left, bursts.left))
        self._cause(m, active, fires, left)
        return m

    def _amount(self, m: Module) -> Any:
        amount = place(m, "amount", TransferAmount(tile_bytes=self._tile))
        m.d.comb += [
            amount.head.eq(self.head), amount.begins.eq(self.begins), amount.executed.eq(executed_rows(self)),
            amount.rounds.eq(self.rounds), self.list_gate.eq(self.head.gate), self.list_mask.eq(self.head.mask),
        ]  # fmt: skip
        return amount

    def _read(self, m: Module, amount: Any, active: Signal, left: Signal) -> Value:
        """Ask for a tile while there is room for it; return whether one is."""
        where, fires = place(m, "where", PlaceCounter()), Signal(name="fires")
        m.d.comb += [
            where.start.eq(amount.known), where.first.eq(self.head.source), where.rows.eq(amount.rows),
            where.stride.eq(self.head.rows), where.step.eq(fires), self.read.address.eq(where.tile),
            self.read.valid.eq(active & left.any() & self._has_room(m, amount.known, fires)),
            fires.eq(self.read.valid & self.read.granted),
        ]  # fmt: skip
        with m.If(amount.known):
            m.d.sync += left.eq(amount.tiles)
        with m.Elif(fires):
            m.d.sync += left.eq(left - 1)
        return fires

    def _has_room(self, m: Module, start: Value, fires: Signal) -> Value:
        """Each channel's FIFO takes another tile; a short last word is forgotten when the next transfer starts."""
        size, room = WORD_BYTES // self._unit, Signal(DDR_CHANNELS, name="room")
        most, tile = STORE_BEATS * size, self._tile // self._unit
        for channel in range(DDR_CHANNELS):
            level = Signal(range(most + size), name=f"level_{channel}")
            with m.If(start):
                m.d.sync += level.eq(0)
            with m.Else():
                m.d.sync += level.eq(level + Mux(fires, tile, 0) - Mux(self.sent[channel], size, 0))
            m.d.comb += room[channel].eq(self._fits(level, tile, most))
        return room.all()

    def _fits(self, level: Value, tile: int, most: int) -> Value:
        return level <= most - tile

    def _gather(self, m: Module, fires: Value, last: Value) -> None:
        """What was read comes back, ``read_stages`` later."""
        gather = place(m, "gather", WordGather(tile_bytes=self._tile))
        m.d.comb += [
            gather.valid.eq(in_flight(m, fires, self._stages, "reads")[-1]), gather.tile.eq(self.read.data),
            gather.last.eq(in_flight(m, last, self._stages, "last_read")[-1]),
            self.row_valid.eq(gather.row_valid), self.row.eq(gather.row),
        ]  # fmt: skip

    def _request(self, m: Module, amount: Any) -> Any:
        """Ask for a burst when all its words are in the FIFOs."""
        bursts = place(m, "bursts", DdrBursts(beat_bits=words_bits(self._tile)))
        here, moves = Signal(range(STORE_BEATS + 1), name="words_here"), Signal(name="burst_moves")
        payload, row = bursts.burst.payload, len(self.row) // (WORD_BYTES * 8)
        m.d.comb += [
            bursts.start.eq(amount.known), bursts.address.eq(self.head.address >> 1), bursts.beats.eq(amount.words),
            self.burst.valid.eq(bursts.burst.valid & (here >= payload.beats)), self.burst.payload.eq(payload),
            bursts.burst.ready.eq(moves), moves.eq(self.burst.valid & self.burst.ready),
        ]  # fmt: skip
        m.d.sync += here.eq(here + Mux(self.row_valid, row, 0) - Mux(moves, payload.beats, 0))
        return bursts

    def _done(self, tiles: Value, words: Value) -> Value:
        return (tiles == 0) & (words == 0) & ~self.writes_pending

    def _cause(self, m: Module, active: Signal, fires: Value, left: Value) -> None:
        with m.If(~(self.begins | self.running)):
            m.d.comb += self.cause.eq(waiting_cause(self))
        with m.Elif(fires | ~active):
            m.d.comb += self.cause.eq(Cause.BUSY)
        with m.Elif(left == 0):
            m.d.comb += self.cause.eq(Cause.DRAINING)
        with m.Else():
            m.d.comb += self.cause.eq(Cause.DDR)
