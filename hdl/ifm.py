"""IFM: activation row tiles on their way from the global buffer to the PE array, a circular buffer."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import ANNOUNCEMENT
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import OPERATION, ROW_REQUEST, TILE_BITS, TileLoop, takes_keys
from skipopu.hdl.verilog import Block


class Ifm(Block):
    """Ask for the rows of an operation ahead of the PE array and keep them until they are issued.

    Parameters
    ----------
    rows : rows in flight or in store at most
    row_bits : width of what is stored of a row: its tile; where heads are packed two, in twice the block RAM

    Ports
    -----
    operation : in, loop bounds, steady while ``active``
    start, active : in, first cycle of an operation is the one after ``start``
    announce : in, stream: a K/V round is formed, or with ``end`` all are; taken in operations on K
    rounds : out, those taken since ``start``
    request : out, stream: the K-tile and the row wanted next, in the order of the loop nest; of K, round after round,
        none before its announcement is taken
    row, row_valid : in, the rows asked for, in order, however late; always taken
    valid, data : out, the next row; it stays until ``issue``
    issue : in, take the row

    Timing
    ------
    A row that arrives in cycle t can be issued in t + 2: written, then read from block RAM. Initiation interval 1. An
    announcement is taken while none is in store, and is gone with the first request of its round.
    """

    def __init__(self, *, rows: int, row_bits: int) -> None:
        self._rows, self._bits = rows, row_bits
        super().__init__({
            "operation": In(OPERATION), "start": In(1), "active": In(1), "request": Out(stream.Signature(ROW_REQUEST)),
            "announce": In(stream.Signature(ANNOUNCEMENT)), "rounds": Out(TILE_BITS),
            "row": In(row_bits), "row_valid": In(1),
            "valid": Out(1), "data": Out(row_bits), "issue": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Requests with credits on one side, the buffer on the other."""
        m = Module()
        self._request(m)
        self._buffer(m)
        return m

    def _request(self, m: Module) -> None:
        """A credit a row; an issued row gives it back for the next cycle."""
        loop, over = TileLoop(m, self.operation), Signal(name="all_requested")
        outstanding = Signal(range(self._rows + 1), name="outstanding")
        taken = named(m, self.request.valid & self.request.ready, "requested")
        rounds = named(m, takes_keys(self.operation), "of_rounds")
        announced = self._rounds(m, rounds, taken & loop.first)
        there = Mux(rounds, ~loop.first | announced, ~over)
        m.d.comb += [
            self.request.payload.tile.eq(loop.tile), self.request.payload.row.eq(loop.row),
            self.request.valid.eq(self.active & there & (outstanding < self._rows)),
        ]  # fmt: skip
        m.d.sync += outstanding.eq(outstanding + taken - self.issue)
        with m.If(self.start):
            m.d.sync += over.eq(0)
            loop.start()
        with m.Elif(taken):
            m.d.sync += over.eq(loop.last)
            loop.advance()

    def _rounds(self, m: Module, rounds: Value, begun: Value) -> Signal:
        """Return whether a round is announced that has not begun."""
        announced, ended = Signal(name="announced"), Signal(name="all_announced")
        told = named(m, self.announce.valid & self.announce.ready, "told")
        end = self.announce.payload.end
        m.d.comb += self.announce.ready.eq(self.active & rounds & ~announced & ~ended)
        with m.If(self.start):
            m.d.sync += [announced.eq(0), ended.eq(0), self.rounds.eq(0)]
        with m.Elif(told):
            m.d.sync += [announced.eq(~end), ended.eq(end), self.rounds.eq(self._counted(end))]
        with m.Elif(begun):
            m.d.sync += announced.eq(0)
        return announced

    def _counted(self, end: Value) -> Value:
        return self.rounds + ~end

    def _buffer(self, m: Module) -> None:
        """Block RAM between two pointers; its output is read ahead."""
        m.submodules.memory = memory = Memory(shape=self._bits, depth=self._rows, init=[])
        write = memory.write_port()
        read = memory.read_port()
        stored, ahead = Signal(range(self._rows + 1), name="stored"), Signal(name="ahead")
        fetch = Signal(name="fetch")
        m.d.comb += [
            write.addr.eq(self._pointer(m, "write_place", self.row_valid)),
            write.data.eq(self.row), write.en.eq(self.row_valid),
            fetch.eq(stored.any() & (~ahead | self.issue)),
            read.addr.eq(self._pointer(m, "read_place", fetch)), read.en.eq(fetch),
            self.valid.eq(ahead), self.data.eq(read.data),
        ]  # fmt: skip
        m.d.sync += [
            stored.eq(stored + self.row_valid - fetch),
            ahead.eq(fetch | (ahead & ~self.issue)),
        ]

    def _pointer(self, m: Module, name: str, step: Any) -> Signal:
        """A counter modulo the buffer's rows."""
        place = Signal(range(self._rows), name=name)
        with m.If(step):
            m.d.sync += place.eq(Mux(place == self._rows - 1, 0, place + 1))
        return place
