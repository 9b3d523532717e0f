"""Matrix causes: why PE array and NPE spend a cycle, as `sim.pe_array` and `sim.npe` say it."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.matrix_operands import CAUSE_BITS
from skipopu.hdl.pe_array import MISSING
from skipopu.hdl.psum import HALVES
from skipopu.hdl.verilog import Block
from skipopu.spec.ledger import Cause
from skipopu.spec.tile_source import TileSource


class MatrixCauses(Block):
    """One cause for each of them in every cycle.

    Ports
    -----
    active, busy (1), missing : in, of the PE array · source : in, where its tiles come from, in the first cycle, too
    start, held, blocked (1) : in, an operation begins; it waits for those in flight; for a semaphore
    operand_cause : in, why IFM asks for no row · passes (1) : in, a tile goes through the operand lanes
    taken (1), block_taken (1) : in, an entry leaves PSUM; it is its column block's last · closes (1) : in, the last
        row of a column block is issued
    pair_full, pair_final (1) : in, sums stand at the NPE's adders, the last ones of their row
    request, goes (1), unread (1) : in, a word asks to go; goes; its residual cannot be read
    flying (1) : in, an operation is in flight and does not retire in this cycle
    pe_array, npe : out, `Cause`

    Timing
    ------
    Combinational; column blocks in PSUM are counted from the cycle after their last row.
    """

    def __init__(self) -> None:
        flags = (
            "active", "busy", "start", "held", "blocked", "passes", "taken", "block_taken", "closes", "pair_full",
            "pair_final", "request", "goes", "unread", "flying",
        )  # fmt: skip
        super().__init__({
            **{name: In(1) for name in flags}, "missing": In(MISSING), "source": In(TileSource),
            "operand_cause": In(CAUSE_BITS), "pe_array": Out(CAUSE_BITS), "npe": Out(CAUSE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Each by itself."""
        m = Module()
        m.d.comb += [self.pe_array.eq(self._of_pe_array()), self.npe.eq(self._of_npe(m))]
        return m

    def _of_pe_array(self) -> Value:
        idle = Mux(self.blocked, Cause.SEMAPHORE, Mux(self.held, Cause.DRAINING, Cause.IDLE))
        issued = Mux(self.source == TileSource.NO_TILE, Cause.IDLE, Cause.BUSY)
        working = Mux(self.busy, issued, self._obstacle())
        return Mux(self.active, working, Mux(self.start, self._no_tile(Cause.ROWS), idle))

    def _obstacle(self) -> Value:
        """Weights, then the row, then room for its sums."""
        row = Mux(self.missing.row, self.operand_cause, Cause.ROWS)
        return Mux(
            self.missing.weights, self._no_tile(row), Mux(self.missing.row, self.operand_cause, Cause.BACKPRESSURE)
        )  # fmt: skip

    def _no_tile(self, others: Any) -> Value:
        """The stream behind a missing tile; constants are always there, so that it is the row that is waited for."""
        kv = Mux(self.source == TileSource.KV, Cause.KV, others)
        return Mux(self.source == TileSource.WEIGHT, Cause.WEIGHTS, kv)

    def _of_npe(self, m: Module) -> Value:
        blocks = Signal(range(HALVES + 1), name="blocks")
        m.d.sync += blocks.eq(blocks + self.closes - self.block_taken)
        draining = blocks.any() | (self.flying & ~self.active)
        held = Mux(self.unread, Cause.ROWS, Cause.BACKPRESSURE)
        asking = Mux(self.request, Mux(self.goes, Cause.BUSY, held), Cause.DRAINING)
        sending = Mux(self.pair_final, asking, Cause.BUSY)
        waiting = Mux(self.pair_full, sending, Mux(draining, Cause.DRAINING, Cause.IDLE))
        return Mux(self.passes | self.taken, Cause.BUSY, waiting)
