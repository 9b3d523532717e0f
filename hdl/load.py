"""Load engine: DDR4 → global buffer, constants and ROT buffer."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.constants_memory import constants_write, word_write
from skipopu.hdl.ddr_burst import BURST, DdrBursts
from skipopu.hdl.ddr_ports import WORD_BYTES
from skipopu.hdl.engine import ENGINE_PORTS, executed_rows, waiting_cause
from skipopu.hdl.global_buffer import load_signature
from skipopu.hdl.pipeline import named
from skipopu.hdl.place_counter import PlaceCounter
from skipopu.hdl.transfer_amount import TransferAmount, words_bits
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.word_gear import WordGear
from skipopu.program.isa import Opcode
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay


class Load(Block):
    """Move the head of the load queue: row tiles into the global buffer, or words into a half of the constants.

    Parameters
    ----------
    overlay : pe_array.dot_length, global_buffer.tiles, dma.ddr_beats, constants.half_bytes, npe.rotary_bytes

    Ports
    -----
    head, begins, running, blocked, leave, list_gate, list_mask, executed, rounds, cause : see `ENGINE_PORTS`
    burst : out, stream of BURST, to all channels
    words : in, stream of words of all channels
    tile : out, a write of the global buffer, ``valid`` until it is ``ready``
    stream_tile : out, a tile of a streaming load is written
    constants, rotary : out, `constants_write`, `word_write`: a word of a half of the constants, of the ROT buffer

    Timing
    ------
    The first burst is asked for TRANSFER_STAGES cycles after ``begins``, others while ``dma.ddr_beats`` have room. A
    word goes on in the cycle in which it is taken, a row tile as well if the global buffer takes it. ``leave`` with the
    last of them.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._tile, self._room = overlay, overlay.tile_bytes, overlay.dma.ddr_beats
        super().__init__({
            **ENGINE_PORTS,
            "burst": Out(stream.Signature(BURST)), "words": In(stream.Signature(WORD_BYTES * 8)),
            "tile": Out(load_signature(overlay)), "stream_tile": Out(1),
            "constants": Out(constants_write(overlay.constants.half_bytes)),
            "rotary": Out(word_write(overlay.npe.rotary_bytes)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Amount; bursts; words into tiles or constants; the end."""
        m = Module()
        active, takes, writes = (Signal(name=name) for name in ("active", "takes", "writes"))
        constants = named(m, self.head.opcode == Opcode.LOAD_CONSTANTS, "of_constants")
        amount = self._amount(m)
        with m.If(amount.known | self.leave):
            m.d.sync += active.eq(~self.leave)
        self._request(m, amount, takes)
        gear = self._write_tiles(m, amount, active & ~constants, writes)
        m.d.comb += [
            gear.word.valid.eq(self.words.valid & active & ~constants), gear.word.payload.eq(self.words.payload),
            self.words.ready.eq(active & (constants | gear.word.ready)), takes.eq(self.words.valid & self.words.ready),
        ]  # fmt: skip
        self._write_constants(m, amount.known, takes & constants)
        self._end(m, amount, active, constants, Mux(constants, takes, writes))
        self._cause(m, active, takes | writes, self.words.valid & ~self.words.ready)
        return m

    def _amount(self, m: Module) -> Any:
        amount = place(m, "amount", TransferAmount(tile_bytes=self._tile))
        m.d.comb += [
            amount.head.eq(self.head), amount.begins.eq(self.begins), amount.executed.eq(executed_rows(self)),
            amount.rounds.eq(self.rounds), self.list_gate.eq(self.head.gate), self.list_mask.eq(self.head.mask),
        ]  # fmt: skip
        return amount

    def _request(self, m: Module, amount: Any, takes: Signal) -> None:
        """Ask for a burst when the FIFOs have room for it."""
        bursts = place(m, "bursts", DdrBursts(beat_bits=words_bits(self._tile)))
        asked, moves = Signal(range(self._room + 1), name="asked"), Signal(name="burst_moves")
        payload = bursts.burst.payload
        m.d.comb += [
            bursts.start.eq(amount.known), bursts.address.eq(self.head.address >> 1), bursts.beats.eq(amount.words),
            self.burst.valid.eq(bursts.burst.valid & self._fits(asked, payload.beats)), self.burst.payload.eq(payload),
            bursts.burst.ready.eq(moves), moves.eq(self.burst.valid & self.burst.ready),
        ]  # fmt: skip
        m.d.sync += asked.eq(asked + Mux(moves, payload.beats, 0) - takes)

    def _fits(self, asked: Value, beats: Value) -> Value:
        """``asked``: words asked for and not taken."""
        return asked + beats <= self._room

    def _write_tiles(self, m: Module, amount: Any, active: Value, writes: Signal) -> Any:
        """Row tiles, tile by tile and row by row, to their places."""
        gear, where = place(m, "gear", WordGear(tile_bytes=self._tile)), place(m, "where", PlaceCounter())
        m.d.comb += [
            gear.start.eq(amount.known), gear.tile.ready.eq(self.tile.ready & active),
            where.start.eq(amount.known), where.first.eq(self.head.target), where.rows.eq(amount.rows),
            where.stride.eq(self.head.rows), where.step.eq(writes),
            self.tile.valid.eq(gear.tile.valid & active), self.tile.address.eq(where.tile),
            self.tile.data.eq(gear.tile.payload), writes.eq(self.tile.valid & self.tile.ready),
            self.stream_tile.eq(writes & self.head.stream),
        ]  # fmt: skip
        return gear

    def _write_constants(self, m: Module, start: Value, goes: Value) -> None:
        """From word 0 of the half, or of the ROT buffer, on."""
        size = max(len(self.constants.address), len(self.rotary.address))
        address = Signal(size, name="constants_word")
        with m.If(start):
            m.d.sync += address.eq(0)
        with m.Elif(goes):
            m.d.sync += address.eq(address + 1)
        m.d.comb += [
            self.constants.valid.eq(goes & ~self.head.value), self.constants.half.eq(self.head.half),
            self.constants.address.eq(address), self.constants.data.eq(self.words.payload),
            self.rotary.valid.eq(goes & self.head.value), self.rotary.address.eq(address),
            self.rotary.data.eq(self.words.payload),
        ]  # fmt: skip

    def _end(self, m: Module, amount: Any, active: Signal, constants: Value, step: Value) -> None:
        """Tiles, or words of constants, until none is left."""
        left = Signal(words_bits(self._tile), name="left")
        with m.If(amount.known):
            m.d.sync += left.eq(Mux(constants, amount.words, amount.tiles))
        with m.Elif(step):
            m.d.sync += left.eq(left - 1)
        m.d.comb += self.leave.eq(active & self._last(left, step))

    def _last(self, left: Value, step: Value) -> Value:
        return (left == 0) | ((left == 1) & step)

    def _cause(self, m: Module, active: Signal, moves: Value, full: Value) -> None:
        with m.If(~(self.begins | self.running)):
            m.d.comb += self.cause.eq(waiting_cause(self))
        with m.Elif(moves | ~active):
            m.d.comb += self.cause.eq(Cause.BUSY)
        with m.Elif(full):
            m.d.comb += self.cause.eq(Cause.BACKPRESSURE)
        with m.Else():
            m.d.comb += self.cause.eq(Cause.DDR)
