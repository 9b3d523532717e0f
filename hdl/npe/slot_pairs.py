"""Slot pairs: entries of a row leave PSUM one by one and go on two by two, word by word."""

from typing import Any, NamedTuple

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.result_operation import most_words, operation_layout, pair_layout, statistics_bits
from skipopu.hdl.pipeline import named
from skipopu.hdl.psum import result_layout
from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.hdl.verilog import Block
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import Overlay


class _Loop(NamedTuple):
    """Column blocks × rows × slots."""

    slot: Signal
    row: Signal
    block: Signal
    last_slot: Value
    last_row: Value  # of the column block


class SlotPairs(Block):
    """Registers for one entry that waits (hold) and for two that leave (pair), and the loops over an operation.

    Parameters
    ----------
    overlay : pe_array.columns, psum, npe.lanes, npe.statistics_rows

    Ports
    -----
    operation : in, stream; looked at while valid, ready with the last entry of the operation
    sums : in, stream of PSUM entries, all columns; ``end`` says which is the operation's last
    granted (1) : in, a word of a row's last pair may go in this cycle; words of other pairs need nothing
    full (1), word, pair, a, b : out, there is a pair, its next word, what stands beside it, both entries
    sent (1), word_last (1) : out, that word goes in this cycle, and is the last one of the pair

    Timing
    ------
    An entry taken is in the pair the cycle after; a pair leaves in ``words`` cycles at least. The next pair, or that of
    the next operation, follows without a gap: ``sums.ready``, ``operation.ready`` depend on ``granted`` of the cycle.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        self._bits = overlay.pe_array.columns * FORMATS[overlay.psum.format].bits
        self._operation, self._pair = operation_layout(overlay), pair_layout(overlay)
        super().__init__({
            "operation": In(stream.Signature(self._operation)), "sums": In(stream.Signature(result_layout(self._bits))),
            "granted": In(1), "full": Out(1), "word": Out(range(most_words(overlay))), "pair": Out(self._pair),
            "a": Out(self._bits), "b": Out(self._bits), "sent": Out(1), "word_last": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A word leaves, then an entry is taken."""
        m = Module()
        operation, loop = self.operation.payload, self._loop(m)
        end = named(m, self._end(), "end_of_operation")
        completes = named(m, loop.slot[0] | loop.last_slot, "completes")
        taken = self._streams(m, completes, end)
        self._advance(m, loop, taken, end)
        self._words(m, taken & completes)
        self._entries(m, taken, completes, loop.slot[0])
        base, first_round = self._statistics(m, operation, taken & loop.last_slot & loop.last_row, end)
        beside = {
            "operation": operation, "row": loop.row, "block": loop.block, "pair": loop.slot >> 1,
            "both": loop.slot[0], "final": loop.last_slot, "last_row": loop.last_row, "last": end,
            "statistics_row": base + loop.row, "first_round": first_round,
        }  # fmt: skip
        pair = Signal(self._pair, name="beside", reset_less=True)
        m.d.comb += self.pair.eq(pair)
        with m.If(taken & completes):
            m.d.sync += [getattr(pair, name).eq(value) for name, value in beside.items()]
        return m

    def _loop(self, m: Module) -> _Loop:
        """Counters of the entry to be taken next, and whether they are at their ends."""
        operation = self.operation.payload
        slot = Signal(range(max(self._overlay.psum.interleave, 2)), name="slot")
        row, block = Signal(ROW_BITS, name="row"), Signal(TILE_BITS, name="block")
        last_row = named(m, row == operation.rows - 1, "last_row")
        return _Loop(slot, row, block, named(m, slot == operation.slots - 1, "last_slot"), last_row)

    def _end(self) -> Value:
        """Nobody counts the column blocks: of K there are as many rounds as the tokens make."""
        end: Value = self.sums.payload.end
        return end

    def _advance(self, m: Module, loop: _Loop, taken: Value, end: Value) -> None:
        with m.If(taken):
            m.d.sync += loop.slot.eq(Mux(loop.last_slot, 0, loop.slot + 1))
            with m.If(loop.last_slot):
                m.d.sync += loop.row.eq(Mux(loop.last_row, 0, loop.row + 1))
            with m.If(loop.last_slot & loop.last_row):
                m.d.sync += loop.block.eq(Mux(end, 0, loop.block + 1))

    def _streams(self, m: Module, completes: Value, last: Value) -> Value:
        """An entry that completes a pair finds the registers empty, or leaving in this very cycle."""
        leaves = named(m, self.sent & self.word_last, "pair_leaves")
        room = named(m, self._room(m, completes, leaves), "room")
        m.d.comb += self.sums.ready.eq(self.operation.valid & room)
        taken: Value = named(m, self.sums.valid & self.sums.ready, "taken")
        m.d.comb += self.operation.ready.eq(taken & last)
        return taken

    def _room(self, m: Module, completes: Value, leaves: Value) -> Value:
        return ~completes | ~self.full | leaves

    def _words(self, m: Module, completed: Value) -> None:
        m.d.comb += [
            self.word_last.eq(self._is_last(self.word)),
            self.sent.eq(self.full & (~self.pair.final | self.granted)),
        ]
        with m.If(self.sent):
            m.d.sync += [self.word.eq(Mux(self.word_last, 0, self.word + 1)), self.full.eq(~self.word_last)]
        with m.If(completed):
            m.d.sync += self.full.eq(1)

    def _is_last(self, word: Value) -> Value:
        return word == self.pair.operation.words - 1

    def _entries(self, m: Module, taken: Value, completes: Value, odd: Value) -> None:
        """An even entry waits for the next one; the last of an odd number goes alone."""
        hold, a, b = (Signal(self._bits, name=name, reset_less=True) for name in ("hold", "first", "second"))
        with m.If(taken & ~completes):
            m.d.sync += hold.eq(self.sums.payload.sums)
        with m.If(taken & completes):
            m.d.sync += [a.eq(self._first(odd, hold)), b.eq(self.sums.payload.sums)]
        m.d.comb += [self.a.eq(a), self.b.eq(b)]

    def _first(self, odd: Value, hold: Value) -> Value:
        return Mux(odd, hold, self.sums.payload.sums)

    def _statistics(self, m: Module, operation: Any, block_done: Value, last: Value) -> tuple[Value, Value]:
        """First statistics row of the column block, and whether its K/V round is the operation's first."""
        base, round_block = Signal(statistics_bits(self._overlay), name="base"), Signal(TILE_BITS, name="round_block")
        later_round = Signal(name="later_round")
        last_of_round = named(m, round_block == operation.round_blocks - 1, "last_of_round")
        begins = named(m, self._begins(last, last_of_round), "begins_round")
        with m.If(block_done):
            m.d.sync += [
                base.eq(Mux(begins, 0, base + Mux(operation.split, operation.rows << 1, operation.rows))),
                round_block.eq(Mux(begins, 0, round_block + 1)),
                later_round.eq(~last & (later_round | last_of_round)),
            ]
        return base, ~later_round

    def _begins(self, last: Value, last_of_round: Value) -> Value:
        return last | last_of_round
