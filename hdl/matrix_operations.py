"""Matrix operations: what an instruction asks of the PE array and of both sides of the NPE."""

from typing import Any

from amaranth.hdl import Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.matrix_kind import MatrixKind
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION, Mode, Statistics
from skipopu.hdl.npe.result_operation import lanes_of, operation_layout, rotary_depth
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import OPERATION, ROW_BITS, TILE_BITS
from skipopu.hdl.verilog import Block
from skipopu.program.isa import Gate, Post
from skipopu.spec.npe import result_words
from skipopu.spec.overlay import Overlay
from skipopu.spec.tile_source import TileSource


class MatrixOperations(Block):
    """The loop bounds of `sim.loop_bounds`, from the instruction, the rows that execute and the rounds there were.

    Parameters
    ----------
    overlay : pe_array, psum.interleave, npe, dataflow.packed_heads

    Ports
    -----
    head : in, `INSTRUCTION` · executed : in, rows that execute · rounds : in, of the last scores
    rotary_words, rotary_stride : in, of the model
    array : out, `OPERATION` of the PE array
    operand : out, `OPERAND_OPERATION` · result : out, `operation_layout`: the NPE's

    Timing
    ------
    None: combinational. Three products: rows of all members, tiles of a head's or all heads' V in a round, and those of
    all rounds.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._lanes = overlay, lanes_of(overlay)
        rotary = range(rotary_depth(overlay) + 1)
        super().__init__({
            "head": In(INSTRUCTION), "executed": In(ROW_BITS), "rounds": In(TILE_BITS),
            "rotary_words": In(rotary), "rotary_stride": In(rotary),
            "array": Out(OPERATION), "operand": Out(OPERAND_OPERATION), "result": Out(operation_layout(overlay)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Bounds that several of them share, then each."""
        m = Module()
        kind, head = MatrixKind(m, self.head), self.head
        members = Mux(kind.attention, head.group, 1)
        rows = named(m, self.executed * members, "rows", ROW_BITS)
        heads = named(m, head.pairs << 1, "heads", TILE_BITS)
        parts = named(m, Mux(kind.context, head.operand, 1), "parts", TILE_BITS)
        turns = named(m, heads * parts, "turns", TILE_BITS)
        all_turns = named(m, self.rounds * turns, "all_turns", TILE_BITS)
        depth = named(m, Mux(kind.context | kind.score_pass, all_turns, head.k_tiles), "depth", TILE_BITS)
        sums = Mux(kind.context, self.rounds, head.k_tiles)
        interleave = self._overlay.psum.interleave
        slots = named(m, Mux(sums < interleave, sums, interleave), "slots", len(self.array.slots))
        self._array(m, kind, rows, depth, turns, slots)
        self._operand(m, kind, rows, depth, heads, parts)
        self._result(m, kind, rows, slots)
        return m

    def _array(self, m: Module, kind: MatrixKind, rows: Value, depth: Value, turns: Value, slots: Value) -> None:
        head, a = self.head, self.array
        m.d.comb += [
            a.source.eq(self._source(kind)), a.value.eq(kind.context), a.int4.eq(kind.matmul & ~head.datatype),
            a.rows.eq(rows), a.depth.eq(depth), a.blocks.eq(self._blocks(m, kind)),
            a.turns.eq(Mux(kind.context, turns, 1)), a.slots.eq(slots), a.width.eq(head.columns),
        ]  # fmt: skip

    def _source(self, kind: MatrixKind) -> Value:
        found = Mux(kind.scores | kind.context, TileSource.KV, TileSource.NO_TILE)
        return Mux(kind.matmul, TileSource.WEIGHT, Mux(kind.logits, TileSource.CONSTANT, found))

    def _blocks(self, m: Module, kind: MatrixKind) -> Value:
        """Column blocks, of keys in a round."""
        width = self._overlay.pe_array.columns
        matmul = named(m, (self.head.columns + (width - 1)) // width, "column_blocks", TILE_BITS)
        return Mux(kind.matmul, matmul, Mux(kind.scores, self._score_blocks(), 1))

    def _score_blocks(self) -> Value:
        """Heads go through two by two, or one by one."""
        pairs: Value = self.head.pairs
        return pairs if self._overlay.dataflow.packed_heads == 2 else pairs << 1

    def _operand(self, m: Module, kind: MatrixKind, rows: Value, depth: Value, heads: Value, parts: Value) -> None:
        head, o = self.head, self.operand
        normalized = (kind.matmul & head.normalize) | (kind.normalize & ~kind.score_pass)
        probability = (kind.context & head.normalize) | (kind.normalize & kind.score_pass)
        taken = Mux(kind.score_pass, Statistics.SCORES, Statistics.SUMS)
        m.d.comb += [
            o.mode.eq(Mux(normalized, Mode.NORMALIZE, Mux(probability, Mode.PROBABILITY, Mode.AS_IS))),
            o.first_block_only.eq(kind.matmul & head.normalize),
            o.write_back.eq(kind.normalize | (kind.matmul & head.normalize)),
            o.statistics.eq(Mux(kind.takes_statistics, taken, Statistics.NONE)),
            o.rows.eq(rows), o.depth.eq(depth), o.heads.eq(heads), o.parts.eq(parts), o.bank.eq(head.half),
        ]  # fmt: skip

    def _result(self, m: Module, kind: MatrixKind, rows: Value, slots: Value) -> None:
        head, r = self.head, self.result
        m.d.comb += [
            r.rows.eq(rows), r.list_rows.eq(self.executed), r.slots.eq(slots), r.words.eq(self._words(m, kind)),
            r.split.eq(kind.scores & (self._overlay.dataflow.packed_heads == 2)),
            r.function.eq(Mux(kind.matmul, head.post, Post.NONE)), r.bias.eq(kind.matmul & head.bias),
            r.masked.eq(kind.scores), r.statistics.eq(kind.scores & head.normalize), r.route.eq(kind.route),
            # a route's gate is the one that it writes
            r.gate.eq(Mux(kind.route, Gate.ALL, head.gate)), r.mask.eq(head.mask), r.bank.eq(head.half),
            r.rotary_words.eq(self.rotary_words), r.rotary_stride.eq(self.rotary_stride),
            r.round_blocks.eq(Mux(kind.scores, self._score_blocks(), 1)),
        ]  # fmt: skip

    def _words(self, m: Module, kind: MatrixKind) -> Value:
        """In which a row leaves; scores always with all columns of their heads."""
        width, heads = self._overlay.pe_array.columns, self._overlay.dataflow.packed_heads
        scores = result_words(heads * width // 2, self._overlay.npe.lanes, heads)
        columns = named(m, Mux(self.head.columns < width, self.head.columns, width), "row_columns", range(width + 1))
        words = named(m, (columns + (self._lanes - 1)) >> (self._lanes.bit_length() - 1), "column_words")
        return Mux(kind.scores, scores, words)
