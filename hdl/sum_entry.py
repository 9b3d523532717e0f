"""Sum entry: where in PSUM the sums of the row that is issued belong."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value

from skipopu.hdl.pipeline import named
from skipopu.hdl.psum import entry_layout
from skipopu.hdl.tile_loop import TILE_BITS, TileLoop
from skipopu.spec.overlay import Overlay


class SumEntry:
    """Address = (turn · rows + row) · slots + slot; a sum's first ``interleave`` K-tiles find empty slots.

    ``entry`` (`entry_layout`) is that of the row at which ``loop`` stands; also says how many entries a column block
    leaves, and in which half.
    """

    def __init__(self, m: Module, *, overlay: Overlay, operation: Any, loop: TileLoop, psum: Any) -> None:
        self._m, self._interleave, self._operation, self._loop = m, overlay.psum.interleave, operation, loop
        entries = overlay.psum.entries
        self._slot = Signal(range(max(self._interleave, 2)), name="slot")
        self._base = Signal(range(entries), name="row_base")
        self._turn, self._later = Signal(TILE_BITS, name="turn"), Signal(name="slots_in_use")
        self._half, self.entry = Signal(name="block_half"), Signal(entry_layout(entries), name="entry")
        self._round_done = named(m, loop.last_row & self._is_last_turn(), "round_done")
        m.d.comb += [
            self.entry.half.eq(Mux(loop.first_of_block, psum.half, self._half)),
            self.entry.address.eq(self._base + self._slot), self.entry.first.eq(~self._later),
            psum.close_half.eq(self.entry.half), psum.close_entries.eq(self._base + operation.slots),
        ]  # fmt: skip

    def _is_last_turn(self) -> Value:
        return self._turn == self._operation.turns - 1

    def start(self) -> None:
        """Statements: the first entry of all."""
        self._m.d.sync += [self._slot.eq(0), self._base.eq(0), self._turn.eq(0), self._later.eq(0)]

    def advance(self) -> None:
        """Statements: the next row's; a slot on when every sum has had its turn."""
        m, loop, last_slot = self._m, self._loop, self._slot == self._interleave - 1
        m.d.sync += [
            self._half.eq(self.entry.half), self._base.eq(Mux(self._round_done, 0, self._base + self._operation.slots))
        ]  # fmt: skip
        with m.If(loop.last_row):
            m.d.sync += self._turn.eq(Mux(self._is_last_turn(), 0, self._turn + 1))
        with m.If(self._round_done):
            m.d.sync += [
                self._slot.eq(Mux(loop.last | last_slot, 0, self._slot + 1)),
                self._later.eq(~loop.last & (self._later | last_slot)),
            ]
