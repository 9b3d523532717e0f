"""Matrix loops: how an instruction walks through its operands and its results in the global buffer."""

from typing import Any

from amaranth.hdl import Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.matrix_kind import MatrixKind
from skipopu.hdl.matrix_layout import operand_loops, result_loops, tile_address
from skipopu.hdl.npe.result_operation import lanes_of
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import OPERATION, ROW_BITS
from skipopu.hdl.verilog import Block
from skipopu.program.constants import WORD_ELEMENTS
from skipopu.program.isa import WIDTH, Post
from skipopu.spec.overlay import Overlay


class MatrixLoops(Block):
    """Places and strides; layouts as `OperandAddresses` and `ResultAddresses` walk them.

    Row tile t of row r of a place lies at place + t · rows + r; rows is that of the block, whether or not they execute.
    Q and O have the K-tiles of a query head one after the other; scores a tile for each round, key/value head and
    query head.

    Parameters
    ----------
    overlay : pe_array, npe.lanes, global_buffer.tiles, constants.half_bytes, dataflow.packed_heads

    Ports
    -----
    head : in, `INSTRUCTION` · executed : in, rows that execute
    array : in, its operation of the PE array · words : in, words in which a row of its results leaves
    operand : out, `operand_loops` · result : out, `result_loops`

    Timing
    ------
    None: combinational. One product: K-tiles of a head · rows.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._place = overlay, tile_address(overlay)
        super().__init__({
            "head": In(INSTRUCTION), "executed": In(ROW_BITS), "array": In(OPERATION),
            "words": In(result_loops(overlay)["words"].shape),
            "operand": Out(operand_loops(overlay)), "result": Out(result_loops(overlay)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Strides, then both sides."""
        m = Module()
        kind, head = MatrixKind(m, self.head), self.head
        members = named(m, Mux(kind.attention, head.group, 1), "members", WIDTH["group"])
        head_tiles = named(m, head.k_tiles * head.rows, "head_tiles", self._place)
        residual = named(m, kind.matmul & (head.post == Post.RESIDUAL), "with_residual")
        self._operand(m, kind, members, head_tiles, residual)
        self._result(m, kind, members, head_tiles, residual)
        self._constants(m, kind)
        return m

    def _operand(self, m: Module, kind: MatrixKind, members: Value, head_tiles: Value, residual: Value) -> None:
        """X and what comes of it by list; of a residual product the rows, and all of attention, packed."""
        head, o = self.head, self.operand
        packed = kind.scores & (self._overlay.dataflow.packed_heads == 2)
        normalized = named(m, kind.matmul & head.normalize, "normalized")
        several = kind.context | kind.score_pass  # rounds follow one another
        m.d.comb += [
            o.by_list.eq(~kind.attention & ~residual), o.rows.eq(self.executed), o.members.eq(members),
            o.inside.eq(Mux(several, Mux(kind.context, head.operand, 1), head.k_tiles)),
            o.inside_stride.eq(Mux(several, 0, head.rows)),
            o.outside.eq(Mux(several, 0, Mux(kind.scores, self.array.blocks, 1))),
            o.member_stride.eq(Mux(kind.scores, head_tiles, head.rows)), o.pairs.eq(packed), o.packed.eq(packed),
            o.source.eq(head.source), o.again.eq(Mux(normalized, head.operand, head.source)),
            o.back.eq(Mux(kind.matmul, head.operand, head.target) - head.source),
            o.stream.eq(head.stream), o.first_block_only.eq(normalized), o.write_back.eq(normalized | kind.normalize),
            o.passes.eq(
                normalized | kind.takes_statistics | kind.normalize | (kind.context & head.normalize)
            ),
            # scales of a product fill one half, the gains before it the other
            o.half.eq(head.half ^ kind.matmul), o.beta.eq(head.k_tiles),
        ]  # fmt: skip

    def _result(self, m: Module, kind: MatrixKind, members: Value, head_tiles: Value, residual: Value) -> None:
        head, r = self.head, self.result
        gated = named(m, kind.matmul & (head.post == Post.SWIGLU), "gated")
        m.d.comb += [
            r.by_list.eq(residual), r.rows.eq(self.executed), r.members.eq(members), r.words.eq(self.words),
            r.parts.eq(Mux(kind.matmul, self.array.blocks, Mux(kind.context, head.operand, 1))),
            r.tile_stride.eq(head.rows), r.member_stride.eq(Mux(kind.context, head_tiles, head.rows)),
            r.target.eq(head.target), r.residual_offset.eq(head.operand - head.target),
            r.last_tile.eq(self._last_tile(kind, gated)), r.half_words.eq(gated),
            r.scores.eq(kind.scores), r.split.eq(kind.scores & (self._overlay.dataflow.packed_heads == 2)),
            r.writes.eq(~kind.route), r.residual.eq(residual),
            r.first_token.eq(head.tokens - head.rows), r.round_blocks.eq(self.array.blocks),
        ]  # fmt: skip

    def _last_tile(self, kind: MatrixKind, gated: Value) -> Value:
        """Of a row: scores of a round and head are one tile; a head, or a matrix, has several."""
        head, shift = self.head, self._overlay.pe_array.dot_length.bit_length() - 1
        columns = Mux(gated, head.columns >> 1, head.columns)
        return Mux(kind.scores, 0, Mux(kind.context, head.k_tiles - 1, (columns - 1)[:-1] >> shift))

    def _constants(self, m: Module, kind: MatrixKind) -> None:
        """Scales from ``address`` on, biases behind those of all columns; both begin at 64-byte words."""
        head, r, bits = self.head, self.result, WORD_ELEMENTS.bit_length() - 1
        behind = (head.columns + (WORD_ELEMENTS - 1)) >> bits
        m.d.comb += [
            r.scaled.eq(kind.matmul & head.scaled),
            r.half.eq(head.half),
            r.scale.eq(self._word(head.address)),
            r.bias.eq(self._word(head.address + behind)),
        ]

    def _word(self, address: Value) -> Value:
        """Of results' scales, where the 64-byte word is."""
        more = lanes_of(self._overlay).bit_length() - WORD_ELEMENTS.bit_length()
        return address >> more if more > 0 else address << -more
