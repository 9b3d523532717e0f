"""MatrixControl: the PE array's engine, from its queue to operations of PE array and NPE and addresses on chip."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.engine_queue import RECORD
from skipopu.hdl.instruction import CYCLE_BITS, INSTRUCTION
from skipopu.hdl.matrix_causes import MatrixCauses
from skipopu.hdl.matrix_flight import MatrixFlight
from skipopu.hdl.matrix_kind import MatrixKind
from skipopu.hdl.matrix_layout import check_words
from skipopu.hdl.matrix_loops import MatrixLoops
from skipopu.hdl.matrix_operands import CAUSE_BITS, MatrixOperands
from skipopu.hdl.matrix_operations import MatrixOperations
from skipopu.hdl.matrix_results import CHUNK_PORTS, MatrixResults
from skipopu.hdl.matrix_routing import route_of, weights_of
from skipopu.hdl.matrix_stages import result_stages
from skipopu.hdl.npe.result_operation import rotary_depth
from skipopu.hdl.pe_array import MISSING
from skipopu.hdl.pipeline import named
from skipopu.hdl.router_weights import router_start
from skipopu.hdl.tile_loop import OPERATION, ROW_BITS, TILE_BITS, multiplies, takes_keys
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import WIDTH, Gate
from skipopu.spec.overlay import Overlay

# ports of a part that are MatrixControl's own under the same name
OPERAND_PORTS = (
    "request", "npe_operation", "npe_rows", "npe_request", "read", "listed", "row", "write_back_valid", "operand",
    "write_back", "reserve_write_back", "write_back_free", "number", "row_b", "gamma", "beta", "stream_tile",
)  # fmt: skip
RESULT_PORTS = (
    "route", "buffer_residual", "reserve_result", "result_free", "constants_scale", "constants_bias", "scale", "bias",
    "residual", "visible", "score_scale", "result_valid", "result", "buffer_result",
    *(f"chunk_{name}" for name in CHUNK_PORTS),
)  # fmt: skip
CAUSE_PORTS = ("busy", "missing", "closes")
SETTINGS = ("rotary_words", "rotary_stride")


class MatrixControl(Block):
    """Starts matrix operations in the order of their queue, up to `IN_FLIGHT` of them ahead of their retirement.

    An operation starts when its semaphores are met, the array is idle and, where it has a fence or takes statistics of
    row tiles, nothing is in flight. It leaves its queue with its last row, and retires when its last result is written.

    Parameters
    ----------
    overlay : pe_array, psum, npe, global_buffer, constants, bitmask, dataflow, and what makes the lanes of a K/V round

    Ports
    -----
    head, begins, running, blocked, record, now : in, of the queue: see `EngineQueue` · leave : out, to it
    retire (1), retired : out, an operation ends; its record
    list_gate, list_mask, list_rows : out, which rows the head works on · executed : in, how many, in the same cycle
    rotary_words, rotary_stride, score_scale : in, settings of the model
    array : out, stream of `OPERATION`, to the PE array, which is ready
    active, busy, ended, closes (1), missing, rounds : in, of the PE array
    sums_taken, sums_last (1) : in, an entry goes from PSUM to the NPE; it is the last one of its column block
    router_start, router_start_valid : out, to the constants
    request : in, stream, IFM's row requests; payload unused
    npe_operation, npe_rows, npe_start, npe_request, listed, read, row, write_back_valid : of the NPE: its
        ``operand_operation``, ``operand_rows``, ``operand_start``, ``operand_request``, ``read_index``, ``read``,
        ``row``, ``write_back_valid``
    number, row_b : out, row tiles to NPE and PE array
    operand, write_back, buffer_residual, buffer_result : reads and writes of the global buffer
    reserve_write_back, reserve_result (1) : out · write_back_free, result_free (1) : in
    gamma, with npe.layer_norm beta, constants_scale, constants_bias : out, reads of the constants
    result_operation, result_request : streams, of the NPE · pair_full, pair_final (1) : in, of it
    scale, bias, residual, visible, route : out, to the NPE · result_valid, result : in, from it
    chunk_valid, chunk_moves, chunk_last, chunk_end, chunk_mask, chunk_tokens : in, the stream of K/V chunks
    stream_tile (1) : in, the streaming load has written a tile
    cause, npe_cause : out, of this engine, of the NPE

    Timing
    ------
    An operation can start in the cycle in which it begins, and the next one in the cycle after its last row.

    Raises
    ------
    SpecError : a word of results would have columns of two column blocks
    """

    def __init__(self, *, overlay: Overlay) -> None:
        check_words(overlay)
        self._overlay = overlay
        self._operands, self._results = MatrixOperands(overlay=overlay), MatrixResults(overlay=overlay)
        operands, results = self._operands.signature.members, self._results.signature.members
        flags = (
            "begins", "running", "blocked", "active", "busy", "ended", "closes", "sums_taken", "sums_last",
            "pair_full", "pair_final",
        )  # fmt: skip
        super().__init__({
            **{name: In(1) for name in flags}, "head": In(INSTRUCTION), "record": In(RECORD), "now": In(CYCLE_BITS),
            "leave": Out(1), "retire": Out(1), "retired": Out(RECORD),
            "list_gate": Out(range(len(Gate))), "list_mask": Out(1), "list_rows": Out(WIDTH["rows"]),
            "executed": In(ROW_BITS), **{name: In(range(rotary_depth(overlay) + 1)) for name in SETTINGS},
            "array": Out(stream.Signature(OPERATION)), "missing": In(MISSING), "rounds": In(TILE_BITS),
            "router_start": Out(router_start(overlay.constants.half_bytes)), "router_start_valid": Out(1),
            "npe_start": Out(1), "result_operation": results["npe_operation"], "result_request": results["request"],
            **{name: operands[name] for name in OPERAND_PORTS if name in operands},
            **{name: results[name] for name in RESULT_PORTS},
            "cause": Out(CAUSE_BITS), "npe_cause": Out(CAUSE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """What the head asks for, when it starts, both sides, causes."""
        m = Module()
        kind = MatrixKind(m, self.head)
        flight = place(m, "flight", MatrixFlight(overlay=self._overlay))
        operations = place(m, "operations", MatrixOperations(overlay=self._overlay))
        loops = place(m, "loops", MatrixLoops(overlay=self._overlay))
        operands, results = place(m, "operands", self._operands), place(m, "results", self._results)
        for inner, names in ((operands, OPERAND_PORTS), (results, RESULT_PORTS)):
            self._pass(m, inner, names)
        connect(m, results.npe_operation, flipped(self.result_operation))
        connect(m, flipped(self.result_request), results.request)
        held, start, goes = self._start(m, kind, flight)
        self._decode(m, kind, operations, loops)
        current = self._current(m, goes)
        self._flight(m, kind, current, flight, results)
        self._operand_side(m, goes, operations, loops, operands)
        self._result_side(m, kind, goes, operations, loops, results)
        m.d.comb += [
            results.begun.slot.eq(flight.slot), results.scores_start.eq(goes & kind.scores),
            results.scores_running.eq(self.active & takes_keys(current)),
        ]  # fmt: skip
        weights_of(m, self.head, self.router_start, self._overlay)
        m.d.comb += self.router_start_valid.eq(goes & kind.logits)
        self._causes(m, start, held, current, operands, results, flight)
        return m

    def _pass(self, m: Module, inner: Any, names: tuple[str, ...]) -> None:
        """Wire the ports that a part and MatrixControl have in common."""
        for name in names:
            if name not in self.signature.members:
                continue
            mine, its, member = getattr(self, name), getattr(inner, name), self.signature.members[name]
            if member.is_signature:
                connect(m, *((its, flipped(mine)) if member.flow == Out else (flipped(mine), its)))
            else:
                m.d.comb += its.eq(mine) if member.flow == In else mine.eq(its)

    def _start(self, m: Module, kind: MatrixKind, flight: Any) -> tuple[Value, Value, Value]:
        """The head is held, starts, starts and has rows."""
        ahead = named(m, (self.begins | self.running) & ~self.active, "ahead")
        fence = named(m, self.head.fence | kind.takes_statistics, "fence")
        held = named(m, ahead & (flight.full | (fence & ~flight.none)), "held")
        start = named(m, ahead & ~held, "start")
        empty = named(m, self.executed == 0, "empty")
        goes = named(m, start & ~empty, "goes")
        m.d.comb += [
            flight.start.eq(start), flight.empty.eq(empty), self.leave.eq((start & empty) | self.ended),
            self.array.valid.eq(goes),
        ]  # fmt: skip
        return held, start, goes

    def _decode(self, m: Module, kind: MatrixKind, operations: Any, loops: Any) -> None:
        """What the instruction is for everybody; a route's gate is the one that it writes."""
        head = self.head
        m.d.comb += [
            self.list_gate.eq(Mux(kind.route, Gate.ALL, head.gate)), self.list_mask.eq(head.mask),
            self.list_rows.eq(head.rows), operations.head.eq(head), operations.executed.eq(self.executed),
            operations.rounds.eq(self.rounds), loops.head.eq(head), loops.executed.eq(self.executed),
            loops.array.eq(operations.array), loops.words.eq(operations.result.words),
            self.array.payload.eq(operations.array), *(getattr(operations, n).eq(getattr(self, n)) for n in SETTINGS),
        ]  # fmt: skip

    def _flight(self, m: Module, kind: MatrixKind, current: Any, flight: Any, results: Any) -> None:
        """Its record, and how long after the last word everything is written."""
        m.d.comb += [
            flight.stages.eq(result_stages(kind, self.head, self._overlay)),
            flight.record.eq(self.record), flight.now.eq(self.now),
            flight.word_last.eq(results.word_last), flight.word_slot.eq(results.word_slot),
            flight.row_last.eq(self.ended & ~multiplies(current)),
            self.retire.eq(flight.retire), self.retired.eq(flight.retired),
        ]  # fmt: skip

    def _current(self, m: Module, goes: Value) -> Any:
        """The PE array's operation, from the cycle in which it is taken on."""
        held, current = Signal(OPERATION, name="held_operation"), Signal(OPERATION, name="current")
        with m.If(goes):
            m.d.sync += held.eq(self.array.payload)
        m.d.comb += current.eq(Mux(self.active, held.as_value(), self.array.payload.as_value()))
        return current

    def _operand_side(self, m: Module, goes: Value, operations: Any, loops: Any, operands: Any) -> None:
        m.d.comb += [
            operands.start.eq(goes), self.npe_start.eq(goes), operands.operation.eq(operations.operand),
            operands.loops.eq(loops.operand), operands.rows.gate.eq(self.list_gate),
            operands.rows.mask.eq(self.list_mask),
        ]  # fmt: skip

    def _result_side(self, m: Module, kind: MatrixKind, goes: Value, operations: Any, loops: Any, results: Any) -> None:
        """What multiplies has results."""
        m.d.comb += [
            results.start.eq(goes & kind.multiplies), results.operation.eq(operations.result),
            results.begun.loops.eq(loops.result),
        ]  # fmt: skip
        route_of(m, self.head, results.begun.route)

    def _causes(
        self, m: Module, start: Value, held: Value, current: Any, operands: Any, results: Any, flight: Any
    ) -> None:
        causes, request = place(m, "causes", MatrixCauses()), results.request
        same = ("active", "blocked", "pair_full", "pair_final", *CAUSE_PORTS)
        m.d.comb += [
            *(getattr(causes, name).eq(getattr(self, name)) for name in same), causes.source.eq(current.source),
            causes.start.eq(start & self.array.valid), causes.held.eq(held), causes.operand_cause.eq(operands.cause),
            causes.passes.eq(operands.passes), causes.taken.eq(self.sums_taken),
            causes.block_taken.eq(self.sums_taken & self.sums_last), causes.request.eq(request.valid),
            causes.goes.eq(request.valid & request.ready), causes.unread.eq(results.unread),
            causes.flying.eq(~flight.none), self.cause.eq(causes.pe_array), self.npe_cause.eq(causes.npe),
        ]  # fmt: skip
