"""NPE: the nonlinear engine on either side of the PE array, joined by row statistics and row lists."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out, Signature, connect, flipped

from skipopu.hdl.npe.operand_path import OperandPath
from skipopu.hdl.npe.result_operation import LOGITS, lanes_of
from skipopu.hdl.npe.result_path import ResultPath
from skipopu.hdl.npe.row_statistics import RowStatistics, tile_lanes, tile_layout
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.router import RouterPath, route_layout
from skipopu.hdl.row_list import GATES
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.program.isa import ENGINES, WIDTH, Gate
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

# ports of a part that are the NPE's own under the same name
RESULT_PORTS = (
    "sums", "scale", "bias", "residual", "visible", "rotary",
    "result_valid", "result", "result_word", "pair_full", "pair_final",
)  # fmt: skip
OPERAND_PORTS = ("read", "number", "gamma", "beta", "row_valid", "row", "write_back_valid", "write_back")
ROUTER_PORTS = ("mask_write", "mask_row", "mask_token", "mask_bit", "bit_mask", "bit_row", "row_bits")
STATISTICS_PORTS = ("share", "epsilon")
# what an engine asks of the lists
LIST = Signature({
    "gate": Out(range(len(Gate))), "mask": Out(1), "rows": Out(WIDTH["rows"]), "executed": In(ROW_BITS),
})  # fmt: skip
ROWS = data.StructLayout({"gate": range(len(Gate)), "mask": 1})  # which list of executed rows an operation follows


class Npe(Block):
    """Everything between PSUM, global buffer and IFM: sums become results, row tiles are normalised, tokens routed.

    Row statistics are shared: they take words of raw scores that leave and row tiles that come in, never both in a
    cycle. Operations that take statistics of row tiles begin when no result is on its way (a fence).

    Parameters
    ----------
    overlay : pe_array.columns, dot_length; psum; global_buffer.read_stages; npe; dataflow.row_block; bitmask

    Ports
    -----
    result_operation : in, stream of `operation_layout`: what happens to the sums of a matrix operation
    sums : in, stream of PSUM entries, all columns; ``end`` marks the last one of an operation
    result_request : out, stream: a word of results wants its side data; index is the row of the block
    scale, bias, residual, visible : in, side data of a lane each, ``read_stages`` after the request
    rotary : in, `word_write`, for the ROT buffer: of each of its words the cosines below the sines
    result_valid : out, a word of results is there
    result, result_word : out, the word, and where it belongs
    pair_full, pair_final : out, sums stand at the adders; they are the last ones of their row
    route : in, `route_layout`, of the route operation whose first row is requested in this cycle
    mask_write, mask_row, mask_token, mask_bit : out, to `Bitmask`: a layer's attention of a token executes
    operand_operation : in, `OPERAND_OPERATION`, steady from its first request until its last row has left
    operand_rows : in, steady like it: gate and mask of the list of executed rows that it follows
    operand_start : in, first cycle of an operand operation is the one after
    operand_request : in, stream, IFM's, in the order of the loop nest; row counts the executed rows
    lists : in, of each engine, which list of executed rows it asks for, and the rows of its block; answered in the same
        cycle: ``executed``, rows in that list
    bit_mask, bit_row : in, a mask register and a row of the block
    row_bits : out, the row's bits in it, attention's lowest, in the same cycle
    read : out, stream to the global buffer: a request that is granted
    read_index : out, beside it: the row of the block
    number, gamma, beta : in, a row tile and what it is normalised by, ``read_stages`` after the grant
    row_valid, row : out, to IFM, in the order of the requests
    write_back_valid, write_back : out, ``row`` is to be written back there
    share, epsilon : in, FP32, 1/D and ε of the rows whose squares are summed

    Timing
    ------
    Results `Overlay.result_latency` after their request, row tiles as they are with the data read, others
    ``npe.operand_latency`` later; a word of raw scores is in the statistics ``npe.statistics_latency`` after it, a
    token in the row lists `Overlay.route_latency` after its request.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        if lanes_of(overlay) < LOGITS:
            raise SpecError(
                f"overlay {overlay.name}: npe.lanes = {overlay.npe.lanes}, pe_array.columns ="
                f" {overlay.pe_array.columns}; a token's {LOGITS} logits leave in one word; nearest: {LOGITS}"
            )
        self._overlay = overlay
        self._results, self._operands = ResultPath(overlay=overlay), OperandPath(overlay=overlay)
        self._statistics, self._router = RowStatistics(overlay=overlay), RouterPath(overlay=overlay)
        self._shared = (
            (self._results, RESULT_PORTS), (self._operands, OPERAND_PORTS), (self._router, ROUTER_PORTS),
            (self._statistics, STATISTICS_PORTS),
        )  # fmt: skip
        results, operands = self._results.signature.members, self._operands.signature.members
        super().__init__({
            "result_operation": results["operation"], "result_request": results["request"],
            "route": In(route_layout(overlay)),
            "operand_operation": operands["operation"], "operand_start": operands["start"],
            "operand_request": operands["request"], "operand_rows": In(ROWS),
            "read_index": Out(ROW_BITS), "lists": In(LIST).array(len(ENGINES)),
            **{
                name: block.signature.members[name]
                for block, names in self._shared for name in names if name in block.signature.members
            },
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Four parts and the wires between them."""
        m = Module()
        results, operands = place(m, "results", self._results), place(m, "operands", self._operands)
        statistics, router = place(m, "statistics", self._statistics), place(m, "router", self._router)
        for inner, (_, names) in zip((results, operands, router, statistics), self._shared, strict=True):
            self._pass(m, inner, names)
        connect(m, flipped(self.result_operation), results.operation)
        connect(m, results.request, flipped(self.result_request))
        connect(m, flipped(self.operand_request), operands.request)
        m.d.comb += [operands.operation.eq(self.operand_operation), operands.start.eq(self.operand_start)]
        self._take_statistics(m, results, operands, statistics)
        self._read_statistics(m, operands, statistics)
        self._routing(m, results, router)
        self._lists(m, results, operands, router)
        return m

    def _pass(self, m: Module, inner: Any, names: tuple[str, ...]) -> None:
        """Wire the ports that a part and the NPE have in common."""
        for name in names:
            if name not in self.signature.members:
                continue
            mine, its, member = getattr(self, name), getattr(inner, name), self.signature.members[name]
            if member.is_signature:
                connect(m, *((its, flipped(mine)) if member.flow == Out else (flipped(mine), its)))
            else:
                m.d.comb += its.eq(mine) if member.flow == In else mine.eq(its)

    def _take_statistics(self, m: Module, results: Any, operands: Any, statistics: Any) -> None:
        """A word of raw scores, padded with −∞, or a row tile."""
        word, leaving = results.result_word, self._scores_tile(m, results)
        scores = named(m, results.result_valid & word.statistics, "scores_leave")
        m.d.comb += [
            statistics.valid.eq(scores | operands.tile_valid),
            statistics.tile.as_value().eq(Mux(scores, leaving.as_value(), operands.tile.as_value())),
        ]  # fmt: skip

    def _scores_tile(self, m: Module, results: Any) -> Any:
        word, tile = results.result_word, Signal(tile_layout(self._overlay), name="scores_tile")
        m.d.comb += [
            tile.tag.scores.eq(1), tile.tag.first.eq(word.first_round & (word.part == 0)), tile.tag.last.eq(0),
            tile.tag.bank.eq(results.result_bank), tile.tag.row.eq(word.statistics_row),
        ]  # fmt: skip
        for k in range(tile_lanes(self._overlay)):
            m.d.comb += tile.number[k].eq(results.result[k] if k < lanes_of(self._overlay) else self._padding())
        return tile

    def _padding(self) -> int:
        """What adds nothing to a sum of powers."""
        return NEGATIVE_INFINITY

    def _read_statistics(self, m: Module, operands: Any, statistics: Any) -> None:
        """The operand lanes read what they normalise by."""
        m.d.comb += [statistics.read_bank.eq(operands.read_bank), statistics.read_row.eq(operands.read_row)]
        for name in ("maximum", "total", "inverse", "mean"):
            if name in self._operands.signature.members:
                m.d.comb += getattr(operands, name).eq(getattr(statistics, name))

    def _routing(self, m: Module, results: Any, router: Any) -> None:
        """Logits of row 0 begin a route operation; what it is comes along from its first request."""
        latency = self._overlay.slot_latency
        route = delayed(m, self.route, latency, "route")
        m.d.comb += [
            router.start.eq(results.logits_valid & (results.logits_row == 0)), router.operation.eq(route),
            router.logits_valid.eq(results.logits_valid), router.logits.eq(results.logits),
            router.row.eq(results.logits_row),
        ]  # fmt: skip

    def _lists(self, m: Module, results: Any, operands: Any, router: Any) -> None:
        """Executed rows by their number: on the way out, on the way in."""
        m.d.comb += [
            router.result.gate.eq(results.list_gate), router.result.mask.eq(results.list_mask),
            router.result.position.eq(results.list_row), results.list_index.eq(router.result.row),
            router.operand.gate.eq(self.operand_rows.gate), router.operand.mask.eq(self.operand_rows.mask),
            router.operand.position.eq(self._position()), self.read_index.eq(router.operand.row),
            operands.listed.eq(router.operand.row),
        ]  # fmt: skip
        for asked in self.lists:
            counts = [router.counts[GATES.index(gate)] for gate in GATES]
            with m.Switch(asked.gate):
                with m.Case(Gate.ALL):
                    m.d.comb += asked.executed.eq(asked.rows)
                for gate, count in zip(GATES, counts, strict=True):
                    with m.Case(gate):
                        m.d.comb += asked.executed.eq(count[asked.mask])

    def _position(self) -> Value:
        """Number of the row that IFM wants among the executed ones."""
        position: Value = self.operand_request.payload.row
        return position
