"""Matrix engine: control, PE array and NPE, connected: all that computes."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.matrix_control import MatrixControl
from skipopu.hdl.npe.npe import LIST, Npe
from skipopu.hdl.pe_array import PeArray
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import Overlay

# ports of a part that are the engine's own under the same name
CONTROL_PORTS = (
    "head", "begins", "running", "blocked", "record", "now", "leave", "retire", "retired", "rotary_words",
    "rotary_stride", "score_scale", "router_start", "router_start_valid", "operand", "write_back", "buffer_residual",
    "buffer_result", "reserve_write_back", "reserve_result", "write_back_free", "result_free", "gamma", "beta",
    "constants_scale", "constants_bias", "stream_tile", "cause", "npe_cause",
)  # fmt: skip
NPE_PORTS = ("rotary", "lists", "bit_mask", "bit_row", "row_bits", "share", "epsilon")
ARRAY_PORTS = ("weights", "constants", "announce", "rounds")
# wires between control and NPE: of the control, of the NPE; the control drives
TO_NPE = (
    ("npe_operation", "operand_operation"), ("npe_rows", "operand_rows"), ("npe_start", "operand_start"),
    ("number", "number"), ("scale", "scale"), ("bias", "bias"), ("residual", "residual"), ("visible", "visible"),
    ("route", "route"),
)  # fmt: skip
FROM_NPE = (
    ("listed", "read_index"), ("row", "row"), ("write_back_valid", "write_back_valid"),
    ("result_valid", "result_valid"), ("result", "result"), ("pair_full", "pair_full"), ("pair_final", "pair_final"),
)  # fmt: skip
FROM_ARRAY = ("active", "busy", "ended", "closes", "missing", "rounds")
MATRIX_LIST = 5  # of the lookups of the NPE, the PE array's own


class MatrixEngine(Block):
    """Engine of all matrix operations: MATMUL, SCORES, CONTEXT, ROUTE, STATISTICS, NORMALIZE.

    Parameters
    ----------
    overlay : all but dma and sequencer
    primitive : vendor primitives instead of behavioural DSPs

    Ports
    -----
    head, begins, running, blocked, record, now, leave, retire, retired : the queue's side, see `MatrixControl`
    lists : in, lookups of executed rows for the other engines, see `Npe` · bit_mask, bit_row, row_bits : see `Npe`
    rotary_words, rotary_stride, score_scale, share, epsilon : in, settings of the model
    weights, kv, constants, announce : in, streams of weights, K/V chunks, router weights, K/V rounds: see `PeArray`
    rounds : out, of the last SCORES
    operand, write_back, buffer_residual, buffer_result, reserve_* , *_free : of the global buffer
    gamma, beta, constants_scale, constants_bias, router_start : reads of the constants
    rotary : in, words for the ROT buffer · stream_tile : in, of the load engine
    cause, npe_cause : out, of the PE array, of the NPE

    Timing
    ------
    That of its parts.
    """

    def __init__(self, *, overlay: Overlay, primitive: bool = False) -> None:
        self._control, self._npe = MatrixControl(overlay=overlay), Npe(overlay=overlay)
        self._array = PeArray(overlay=overlay, primitive=primitive)
        control, npe, array = (b.signature.members for b in (self._control, self._npe, self._array))
        super().__init__({
            **{name: control[name] for name in CONTROL_PORTS if name in control},
            **{name: npe[name] for name in NPE_PORTS if name != "lists"},
            "lists": In(LIST).array(MATRIX_LIST),
            **{name: array[name] for name in ARRAY_PORTS}, "kv": array["kv"],
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Three parts and their wires."""
        m = Module()
        control, npe = place(m, "control", self._control), place(m, "npe", self._npe)
        array = place(m, "pe_array", self._array)
        for part, names in ((control, CONTROL_PORTS), (npe, NPE_PORTS), (array, ARRAY_PORTS)):
            self._outside(m, part, names)
        self._lists(m, control, npe)
        self._operands(m, control, npe, array)
        self._results(m, control, npe, array)
        self._rounds(m, control, array)
        m.d.comb += [getattr(control, name).eq(getattr(array, name)) for name in FROM_ARRAY]
        return m

    def _outside(self, m: Module, part: Any, names: tuple[str, ...]) -> None:
        """Wire the ports that a part and the engine have in common."""
        for name in names:
            if name == "lists" or name not in part.signature.members:
                continue
            mine, its, member = getattr(self, name), getattr(part, name), part.signature.members[name]
            if member.is_signature:
                connect(m, *((its, flipped(mine)) if member.flow == Out else (flipped(mine), its)))
            else:
                m.d.comb += its.eq(mine) if member.flow == In else mine.eq(its)

    def _lists(self, m: Module, control: Any, npe: Any) -> None:
        """Executed rows, for the other engines and for this one."""
        for mine, its in zip(self.lists, npe.lists, strict=False):
            connect(m, flipped(mine), its)
        own = npe.lists[MATRIX_LIST]
        m.d.comb += [
            own.gate.eq(control.list_gate), own.mask.eq(control.list_mask), own.rows.eq(control.list_rows),
            control.executed.eq(own.executed),
        ]  # fmt: skip

    def _operands(self, m: Module, control: Any, npe: Any, array: Any) -> None:
        """Row requests of IFM, the tiles they bring, and the operations of both."""
        connect(m, control.array, array.operation)
        connect(m, array.request, control.request)
        connect(m, control.npe_request, npe.operand_request)
        connect(m, npe.read, control.read)
        m.d.comb += [getattr(npe, its).eq(getattr(control, mine)) for mine, its in TO_NPE]
        m.d.comb += [getattr(control, mine).eq(getattr(npe, its)) for mine, its in FROM_NPE]
        m.d.comb += [array.row.eq(npe.row), array.row_valid.eq(npe.row_valid), npe.gamma.eq(self.gamma.data)]
        if "row_b" in self._array.signature.members:
            m.d.comb += array.row_b.eq(control.row_b)
        if "beta" in self._npe.signature.members:
            m.d.comb += npe.beta.eq(self.beta.data)

    def _results(self, m: Module, control: Any, npe: Any, array: Any) -> None:
        """Sums to the NPE; what is asked for them."""
        connect(m, control.result_operation, npe.result_operation)
        connect(m, npe.result_request, control.result_request)
        connect(m, array.results, npe.sums)
        sums = array.results
        m.d.comb += [control.sums_taken.eq(sums.valid & sums.ready), control.sums_last.eq(sums.payload.last)]

    def _rounds(self, m: Module, control: Any, array: Any) -> None:
        """Chunks of K/V on their way to the array: the control keeps whose scores they become."""
        connect(m, flipped(self.kv), array.kv)
        m.d.comb += [
            control.chunk_valid.eq(self.kv.valid), control.chunk_moves.eq(self.kv.valid & self.kv.ready),
            *(getattr(control, f"chunk_{name}").eq(getattr(self.kv.payload, name))
              for name in ("last", "end", "mask", "tokens")),
        ]  # fmt: skip
