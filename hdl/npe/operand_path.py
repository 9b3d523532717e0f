"""Operand path: row tiles from the global buffer, through the operand lanes, into IFM and into the row statistics."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.npe.operand_lanes import OperandLanes
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION, Mode, Statistics
from skipopu.hdl.npe.row_memory import row_bits
from skipopu.hdl.npe.row_statistics import tile_lanes, tile_layout
from skipopu.hdl.npe.scoreboard import Scoreboard
from skipopu.hdl.npe.statistics_row import StatisticsRow
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.tile_loop import ROW_BITS, ROW_REQUEST
from skipopu.hdl.verilog import Block, place
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.spec.number_format import FP16
from skipopu.spec.overlay import Overlay


class OperandPath(Block):
    """Grant IFM's requests when no hazard is in the way; normalise, divide, write back, take statistics.

    A tile is not granted while a tile of the same statistics row is too close before it; nor, in the later column
    blocks of a ``first_block_only`` operation, while a changed tile of the first one has not been written back.

    Parameters
    ----------
    overlay : its ``npe`` and the stages of its global buffer

    Ports
    -----
    operation : in, `OPERAND_OPERATION`, steady from its first request until its last row has left
    start (1) : in, first cycle of an operation is the one after
    request : in, stream of `ROW_REQUEST`, IFM's, in the order of the loop nest · listed : in, its row of the block
    read : out, stream of `ROW_REQUEST`, to the global buffer: a request that is granted moves on both
    number, gamma, with ``npe.layer_norm`` beta : in, ``dot_length`` × FP16
    row_valid (1), row (``dot_length`` × FP16) : out, to IFM, in the order of the requests
    write_back_valid (1), write_back (`ROW_REQUEST`) : out, ``row`` is to be written back there
    tile_valid (1), tile (`tile_layout`) : out, to the row statistics
    read_bank (1), read_row : out · maximum, total, inverse, with ``npe.layer_norm`` mean : in, of the row statistics

    Timing
    ------
    Numbers come ``global_buffer.read_stages`` after the grant, then go to the statistics and, in an operation as it is,
    to IFM in the same cycle; in any other operation ``npe.operand_latency`` later. The address of the statistics stands
    the cycle before the numbers. What is written back in cycle w may be read from w + 1 on. Initiation interval 1.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._npe = overlay, overlay.npe
        self._length, self._stages = overlay.pe_array.dot_length, overlay.global_buffer.read_stages
        numbers, word, centred = data.ArrayLayout(FP16.bits, self._length), FP32.bits, overlay.npe.layer_norm
        rows = row_bits(overlay.npe.statistics_rows)
        requests = stream.Signature(ROW_REQUEST)
        super().__init__({
            "operation": In(OPERAND_OPERATION), "start": In(1), "request": In(requests), "listed": In(ROW_BITS),
            "read": Out(requests),
            "number": In(numbers), "gamma": In(numbers), **({"beta": In(numbers)} if centred else {}),
            "row_valid": Out(1), "row": Out(numbers), "write_back_valid": Out(1), "write_back": Out(ROW_REQUEST),
            "tile_valid": Out(1), "tile": Out(tile_layout(overlay)),
            "read_bank": Out(1), "read_row": Out(rows), "maximum": In(FP16.bits), "total": In(word),
            "inverse": In(word), **({"mean": In(word)} if centred else {}),
        })  # fmt: skip
        self._tag = data.StructLayout({
            "request": ROW_REQUEST, "statistics_row": rows, "first": 1, "last": 1, "changes": 1,
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Grant; a tag beside the tile; lanes."""
        m = Module()
        granted, tag = Signal(name="granted"), Signal(self._tag, name="tag")
        m.d.comb += granted.eq(self.read.valid & self.read.ready)
        address_tag = delayed(m, tag, self._stages - 1, "address_tag")
        tile_tag = delayed(m, address_tag, 1, "tile_tag")
        row_tag = delayed(m, tile_tag, self._npe.operand_latency, "row_tag")
        arrives = in_flight(m, granted, self._stages, "reads")[-1]
        as_is = named(m, self.operation.mode == Mode.AS_IS, "as_is")
        leaves = in_flight(m, arrives & ~as_is, self._npe.operand_latency, "tiles")[-1]
        self._look_up(m, address_tag)
        self._take(m, arrives, tile_tag)
        result = self._lanes(m, tile_tag)
        changed = named(m, leaves & row_tag.changes, "changed")
        m.d.comb += [  # all rows of an operation take the same way, and so leave in order
            self.row_valid.eq(Mux(as_is, arrives, leaves)), self.row.eq(Mux(as_is, self.number, result)),
            self.write_back_valid.eq(changed & self.operation.write_back), self.write_back.eq(row_tag.request),
        ]  # fmt: skip
        self._grant(m, granted, tag, changed)
        return m

    def _look_up(self, m: Module, tag: Any) -> None:
        """Statistics are wanted of the row whose tile comes in the next cycle."""
        m.d.comb += [self.read_row.eq(tag.statistics_row), self.read_bank.eq(self.operation.bank)]

    def _grant(self, m: Module, granted: Value, tag: Any, written_back: Value) -> None:
        """The next request goes unless a tile before it is in the way."""
        operation, request = self.operation, self.request.payload
        place_of = StatisticsRow(m, operation, request, self.listed, self._npe.statistics_rows)
        changes = (operation.mode != Mode.AS_IS) & (place_of.first_block | ~operation.first_block_only)
        m.d.comb += [
            tag.request.eq(request), tag.statistics_row.eq(place_of.row), tag.first.eq(place_of.first_tile),
            tag.last.eq(place_of.last_tile), tag.changes.eq(changes),
        ]  # fmt: skip
        with m.If(self.start):
            place_of.start()
        with m.Elif(granted):
            place_of.advance()
        changed = self._outstanding(m, granted & tag.changes, written_back)
        unread = named(m, operation.first_block_only & ~place_of.first_block & changed, "not_yet_written_back")
        free = named(m, self._statistics_free(m, granted, place_of.turn) & ~unread, "free")
        m.d.comb += [
            self.read.valid.eq(self.request.valid & free), self.read.payload.eq(request),
            self.request.ready.eq(self.read.ready & free),
        ]  # fmt: skip

    def _outstanding(self, m: Module, more: Value, less: Value) -> Value:
        """There are changed tiles that have not been written back."""
        most = self._stages + self._npe.operand_latency
        count = Signal(range(most + 1), name="outstanding")
        m.d.sync += count.eq(count + more - less)
        return count.any()

    def _statistics_free(self, m: Module, granted: Value, row: Value) -> Value:
        """No tile of the row is too close before, where statistics are taken."""
        n, statistics, free = self._npe, self.operation.statistics, Const(1, 1)
        for kind, name, distance in (
            (Statistics.SUMS, "sums", n.sum_distance), (Statistics.SCORES, "scores", n.softmax_distance)
        ):  # fmt: skip
            board = place(m, f"{name}_scoreboard", Scoreboard(rows=n.statistics_rows, distance=distance))
            m.d.comb += [board.row.eq(row), board.granted.eq(granted & (statistics == kind))]
            free = Mux(statistics == kind, board.free, free)
        return free

    def _take(self, m: Module, valid: Value, tag: Any) -> None:
        """The tile as it comes, to the statistics, padded to their width."""
        scores = named(m, self.operation.statistics == Statistics.SCORES, "scores")
        tile, padding = self.tile, Mux(scores, NEGATIVE_INFINITY, 0)
        m.d.comb += [
            self.tile_valid.eq(valid & (self.operation.statistics != Statistics.NONE)),
            tile.tag.scores.eq(scores), tile.tag.first.eq(tag.first), tile.tag.last.eq(tag.last),
            tile.tag.bank.eq(self.operation.bank), tile.tag.row.eq(tag.statistics_row),
        ]  # fmt: skip
        for k in range(tile_lanes(self._overlay)):
            m.d.comb += tile.number[k].eq(self.number[k] if k < self._length else padding)

    def _lanes(self, m: Module, tag: Any) -> Any:
        lanes = place(m, "lanes", OperandLanes(lanes=self._length, npe=self._npe))
        inputs = ["number", "gamma", "inverse", "maximum", "total"]
        inputs += ["beta", "mean"] if self._npe.layer_norm else []
        m.d.comb += [getattr(lanes, name).eq(getattr(self, name)) for name in inputs]
        m.d.comb += [
            lanes.changes.eq(tag.changes), lanes.probability.eq(self.operation.mode == Mode.PROBABILITY)
        ]  # fmt: skip
        return lanes.result
