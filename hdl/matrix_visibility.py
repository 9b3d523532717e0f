"""Matrix visibility: which lanes of a word of raw scores belong to a token that the query may see."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.ker_bank import HALVES
from skipopu.hdl.kv_layout import index, kv_shape
from skipopu.hdl.npe.result_operation import head_words, lanes_of
from skipopu.hdl.pipeline import named
from skipopu.hdl.psum import HALVES as PSUM_HALVES
from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import WIDTH
from skipopu.spec.ker_shape import ker_shape
from skipopu.spec.overlay import Overlay

# K/V rounds between the stream of chunks and the words of results, where each is no more than a tile: one whose last
# pair of sums leaves, one in each half of PSUM, one in each half of KER (the array waits for PSUM with the first of
# them), and one whose chunk stands at the stream's output. The array asks for no half of PSUM before it is empty, KER
# fills none before its tile is used, and the stream shows no chunk before the one before it is taken.
ROUNDS = 1 + PSUM_HALVES + HALVES + 1


class MatrixVisibility(Block):
    """Tokens of K/V rounds on their way, column by column, compared with the query's.

    Parameters
    ----------
    overlay : pe_array, npe.lanes, bitmask.tokens, and what makes the lanes of a round

    Ports
    -----
    start (1) : in, an operation on K begins in the next cycle · running (1) : in, it is at work
    valid, moves, last, end (1), mask, tokens : in, the chunks of K/V: a chunk stands there, is taken; of its round, of
        all rounds the last; lanes that have a token, and which
    round_blocks : in, column blocks of a round · first_token : in, token of row 0 of the block
    block_done (1) : in, the last word of a column block of scores goes
    index, part : in, row of the block, word of the head · visible : out, a bit a lane, at once

    Timing
    ------
    A round is seen from the cycle on in which its first chunk stands at the output; no word of it leaves before the
    next one. It is forgotten with its last word.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._shape, self._lanes, self._words = kv_shape(overlay), lanes_of(overlay), head_words(overlay)
        ker = ker_shape(overlay)
        self._slots, self._by_rank = ker.slots, ker.by_rank
        self._token = index(self._shape.tokens)
        lanes = self._shape.lanes
        super().__init__({
            "start": In(1), "running": In(1), "valid": In(1), "moves": In(1), "last": In(1), "end": In(1),
            "mask": In(lanes), "tokens": In(data.ArrayLayout(self._token, lanes)),
            "round_blocks": In(TILE_BITS), "first_token": In(WIDTH["tokens"]), "block_done": In(1),
            "index": In(ROW_BITS), "part": In(range(max(self._words, 2))), "visible": Out(self._lanes),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A queue of rounds; the oldest one's tokens."""
        m = Module()
        entry = data.ArrayLayout(data.StructLayout({"there": 1, "token": self._token}), self._slots)
        columns, oldest = Signal(entry, name="round_columns"), Signal(entry, name="oldest")
        self._place(m, columns)
        queue = place(m, "rounds", Fifo(bits=entry.size, depth=ROUNDS))
        block = Signal(TILE_BITS, name="block")
        round_done = named(m, self.block_done & (block == self.round_blocks - 1), "round_done")
        with m.If(self.block_done):
            m.d.sync += block.eq(Mux(round_done, 0, block + 1))
        m.d.comb += [
            queue.write.eq(self._appears(m)), queue.write_data.eq(columns), queue.read.eq(round_done),
            oldest.eq(queue.head),
        ]  # fmt: skip
        self._compare(m, oldest)
        return m

    def _appears(self, m: Module) -> Value:
        """The first chunk of a round of this operation stands there for the first time."""
        known, all_known = Signal(name="known"), Signal(name="all_known")
        appears: Value = named(m, self.running & self.valid & ~known & ~all_known, "appears")
        with m.If(appears):
            m.d.sync += known.eq(1)
        with m.If(self.running & self.moves & self.last):
            m.d.sync += [known.eq(0), all_known.eq(self.end)]
        with m.If(self.start):
            m.d.sync += [known.eq(0), all_known.eq(0)]
        return appears

    def _place(self, m: Module, columns: Any) -> None:
        """A token stands in the column where KER puts its keys (`KerSlots`)."""
        rank: Value = Const(0, range(self._shape.lanes + 1))
        for lane in range(self._shape.lanes):
            for slot in range(min(lane + 1, self._slots)) if self._by_rank else (lane,):
                with m.If(self.mask[lane] & ((rank == slot) if self._by_rank else 1)):
                    m.d.comb += [columns[slot].there.eq(1), columns[slot].token.eq(self.tokens[lane])]
            if self._by_rank:
                rank = named(m, rank + self.mask[lane], f"rank{lane + 1}", range(self._shape.lanes + 1))

    def _compare(self, m: Module, oldest: Any) -> None:
        """A query sees its own token and those before."""
        query = named(m, self.first_token + self.index, "query")
        for lane in range(self._lanes):
            choices = [self._sees(oldest, word * self._lanes + lane, query) for word in range(self._words)]
            chosen = named(m, Cat(*choices), f"sees{lane}")
            m.d.comb += self.visible[lane].eq(chosen.bit_select(self.part, 1))

    def _sees(self, oldest: Any, slot: int, query: Value) -> Value:
        if slot >= self._slots:
            return Const(0, 1)
        return oldest[slot].there & (oldest[slot].token <= query)
