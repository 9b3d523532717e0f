"""PE array: one activation row a cycle times the loaded weight tile, summed in a PSUM half."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.column_pair import ColumnPair
from skipopu.hdl.ifm import Ifm
from skipopu.hdl.ker import Ker
from skipopu.hdl.ker_banks import KerBanks
from skipopu.hdl.kv_layout import ANNOUNCEMENT, kv_shape, output_layout
from skipopu.hdl.operand import FP16_BITS, OPERAND, fp16_operand
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.psum import Psum, result_layout
from skipopu.hdl.sum_entry import SumEntry
from skipopu.hdl.tile_loop import OPERATION, ROW_REQUEST, TILE_BITS, TileLoop, multiplies, takes_keys
from skipopu.hdl.verilog import Block, place
from skipopu.spec.error import SpecError
from skipopu.spec.ker_shape import PACKED, ker_shape
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import BLOCK_RAM_READ, Overlay

MISSING = data.StructLayout({"weights": 1, "row": 1, "psum": 1})  # what the next row waits for


class PeArray(Block):
    """``columns`` dot products of ``dot_length`` products a cycle, with KER, IFM and PSUM round them (SkipOPU §4.2).

    Parameters
    ----------
    overlay : sections pe_array, ker, ifm, psum, kv_buffer; width of the weight stream (dma.hbm_ports,
        clock.hbm_ratio); dataflow.packed_heads
    primitive : vendor primitives instead of behavioural DSPs

    Ports
    -----
    operation : in, stream of `OPERATION`; every bound ≥ 1, turns × rows × slots ≤ psum.entries
    weights : in, stream of tiles, column-major, whatever the HBM ports deliver in a core cycle
    kv : in, stream of a chunk of every lane of a round, of a token's K or V in the order of its tiles: of K [block]
        [K-tile][dot], with packed heads [block][K-tile][head][dot]; of V [turn][column]. A token's lane is its column
        of K (in the half of its head), its place in the dot product with V; with more lanes than those, its rank.
        Lanes without a token are zero
    constants : in, stream of router weights, [K-tile][logit][dot]; what the last tile leaves of a word goes with it
    announce : in, stream: a round of K is formed, or all are; before its chunks
    request : out, stream: K-tile and row wanted next, round by round, column block by column block, K-tile by K-tile
    row, row_valid : in, the rows asked for, dot_length × FP16 each, in order; always taken
    row_b : in, with packed heads, beside it: of K, the row of the second head
    results : out, stream of PSUM entries: turn by turn (turn = K-tile modulo turns), row by row, slot by slot (slot =
        K-tile of the sum modulo interleave), ``columns`` sums; ``last`` marks the last of a column block, ``end`` of
        the operation
    busy : out, a row is issued in this cycle
    closes : out, it is the last of a column block whose sums will leave
    ended : out, it is the operation's last
    active : out, there is an operation
    missing : out, while ``active`` what the next row waits for
    rounds : out, of the last operation on K

    Timing
    ------
    A row is issued a cycle. From issue to sum in PSUM `Overlay.pe_latency` cycles = broadcast + multiply + align +
    tree + convert + accumulate; it can leave a cycle later. Words and requests begin the cycle after an operation is
    taken; the next operation is taken the cycle after the last row was issued, at the earliest. Without tiles rows are
    issued as they come, and nothing is multiplied.
    """

    def __init__(self, *, overlay: Overlay, primitive: bool = False) -> None:
        self._overlay, self._primitive = overlay, primitive
        _check(overlay)
        self._shape, self._tile = ker_shape(overlay), overlay.tile_bytes * 8
        self._number = FORMATS[overlay.psum.format].bits
        super().__init__({
            "operation": In(stream.Signature(OPERATION)),
            "weights": In(stream.Signature(overlay.hbm_bytes_per_cycle * 8)),
            "kv": In(stream.Signature(output_layout(kv_shape(overlay)))),
            "constants": In(stream.Signature(self._shape.word * FP16_BITS)),
            "announce": In(stream.Signature(ANNOUNCEMENT)), "request": Out(stream.Signature(ROW_REQUEST)),
            "row": In(self._tile), "row_valid": In(1), **({"row_b": In(self._tile)} if self._packed else {}),
            "results": Out(stream.Signature(result_layout(overlay.pe_array.columns * self._number))),
            "busy": Out(1), "closes": Out(1), "ended": Out(1), "active": Out(1), "missing": Out(MISSING),
            "rounds": Out(TILE_BITS),
        })  # fmt: skip

    @property
    def _packed(self) -> bool:
        return self._shape.heads == PACKED

    def elaborate(self, platform: Any) -> Module:
        """Buffers, control, columns."""
        m = Module()
        ker, ifm, psum = self._buffers(m)
        operation, start = self._operation(m)
        for buffer in (ker, ifm):
            m.d.comb += [buffer.operation.eq(operation), buffer.start.eq(start), buffer.active.eq(self.active)]
        control = self._issue(m, operation, start, ker, ifm, psum)
        self._columns(m, operation, control, ker, ifm, psum)
        return m

    def _buffers(self, m: Module) -> tuple[Any, Any, Any]:
        o, pe = self._overlay, self._overlay.pe_array
        ker = place(m, "ker", Ker(
            shape=self._shape, word_bytes=o.hbm_bytes_per_cycle, broadcast_stages=pe.broadcast_stages,
        ))  # fmt: skip
        row = Cat(self.row, self.row_b) if self._packed else self.row
        ifm = place(m, "ifm", Ifm(rows=o.ifm.rows, row_bits=len(row)))
        psum = place(m, "psum", Psum(entries=o.psum.entries, entry_bits=pe.columns * self._number))
        connect(m, flipped(self.weights), ker.stream)
        m.d.comb += [
            ker.chunk_valid.eq(self.kv.valid), ker.chunk_end.eq(self.kv.payload.end), self.kv.ready.eq(ker.chunk_ready),
            ker.word_valid.eq(self.constants.valid), self.constants.ready.eq(ker.word_ready),
            ifm.row.eq(row), ifm.row_valid.eq(self.row_valid),
        ]  # fmt: skip
        connect(m, flipped(self.announce), ifm.announce)
        connect(m, ifm.request, flipped(self.request))
        connect(m, psum.results, flipped(self.results))
        return ker, ifm, psum

    def _operation(self, m: Module) -> tuple[Any, Value]:
        """Take an operation when there is none; it ends with its last row."""
        operation, start = Signal(OPERATION, name="current"), Signal(name="start")
        m.d.comb += [self.operation.ready.eq(~self.active), start.eq(self.operation.valid & ~self.active)]
        with m.If(start):
            m.d.sync += [operation.eq(self.operation.payload), self.active.eq(1)]
        with m.Elif(self.ended):
            m.d.sync += self.active.eq(0)
        return operation, start

    def _issue(self, m: Module, operation: Any, start: Value, ker: Any, ifm: Any, psum: Any) -> dict[str, Value]:
        """Issue a row when weights, row and PSUM half are there; say where its sum belongs."""
        loop, product = TileLoop(m, operation, one_block=True), named(m, multiplies(operation), "multiplies")
        missing, sums = self.missing, named(m, self.busy & product, "sums_begin")
        m.d.comb += [
            missing.weights.eq(product & ~ker.loaded), missing.row.eq(~ifm.valid),
            missing.psum.eq(product & loop.first_of_block & ~psum.free),
            self.busy.eq(self.active & ~missing.as_value().any()),
            self.ended.eq(self.busy & loop.last & self._is_end(product, ker)),
            ifm.issue.eq(self.busy), ker.tile_done.eq(sums & loop.last_row),
            psum.open.eq(sums & loop.first_of_block), psum.close.eq(sums & loop.last), psum.close_end.eq(self.ended),
            self.closes.eq(psum.close),
        ]  # fmt: skip
        entry = SumEntry(m, overlay=self._overlay, operation=operation, loop=loop, psum=psum)
        with m.If(start):
            loop.start()
            entry.start()
        with m.Elif(self.busy):
            loop.advance()
            entry.advance()
        with m.If(self.ended & takes_keys(operation)):
            m.d.sync += self.rounds.eq(ifm.rounds)
        return {"valid": sums, "entry": entry.entry, "last": loop.last}

    def _is_end(self, product: Value, ker: Any) -> Value:
        """The column block is the last one: KER knows; without tiles there is one."""
        return ~product | ker.ends

    def _columns(self, m: Module, operation: Any, control: dict[str, Value], ker: Any, ifm: Any, psum: Any) -> None:
        """Broadcast the row; let its entry travel beside the dot products to PSUM."""
        pe, pairs = self._overlay.pe_array, self._overlay.pe_array.columns // COLUMNS
        rows, int4 = self._rows(m, operation, ifm), delayed(m, operation.int4, pe.broadcast_stages, "row_int4")
        banks = KerBanks(
            m, shape=self._shape, word_bytes=self._overlay.hbm_bytes_per_cycle, operation=operation, ker=ker,
            chunk=self.kv.payload, word=self.constants.payload,
        )  # fmt: skip
        block = ColumnPair(pe_array=pe, psum=self._overlay.psum, primitive=self._primitive)
        partial, sums = (Signal(pairs * COLUMNS * self._number, name=n) for n in ("partial", "sums"))
        places = [place(m, f"columns_{COLUMNS * i}", block) for i in range(pairs)]
        for i, pair in enumerate(places):
            bank, row = banks.pair(i), rows[i * len(rows) // pairs]
            m.d.comb += [
                pair.int4.eq(int4), pair.row.eq(row), pair.weight0.eq(bank.weight0), pair.weight1.eq(bank.weight1)
            ]  # fmt: skip
            for column in range(COLUMNS):
                number = slice((COLUMNS * i + column) * self._number, (COLUMNS * i + column + 1) * self._number)
                m.d.comb += [
                    getattr(pair, f"partial{column}").eq(partial[number]),
                    sums[number].eq(getattr(pair, f"sum{column}")),
                ]
        self._write_back(m, control, psum, partial, sums)

    def _rows(self, m: Module, operation: Any, ifm: Any) -> list[Any]:
        """The row of all columns; with packed heads, of either half of them: different ones only beside keys."""
        first = ifm.data[: self._tile]
        if not self._packed:
            return [self._row(m, first, "row")]
        second = Mux(self._heads_differ(operation), ifm.data[self._tile :], first)
        return [self._row(m, first, "row"), self._row(m, named(m, second, "second_row"), "row_b")]

    def _heads_differ(self, operation: Any) -> Value:
        return takes_keys(operation)

    def _row(self, m: Module, numbers: Value, name: str) -> Any:
        """The row's operands, registered on their way to the columns."""
        row = Signal(data.ArrayLayout(OPERAND, self._overlay.pe_array.dot_length), name=f"{name}_operands")
        for k in range(self._overlay.pe_array.dot_length):
            fp16_operand(m, row[k], numbers[k * FP16_BITS : (k + 1) * FP16_BITS])
        return delayed(m, row, self._overlay.pe_array.broadcast_stages, f"{name}_operands")

    def _write_back(self, m: Module, control: dict[str, Value], psum: Any, partial: Signal, sums: Signal) -> None:
        """PSUM is read a cycle before the dot products reach the adders, and written by the adders' last stage."""
        o = self._overlay
        until_read = o.pe_array.broadcast_stages + o.dot_latency - BLOCK_RAM_READ
        until_write = BLOCK_RAM_READ + o.pe_array.accumulate_stages - 1
        valid = self._valid(m, control["valid"], until_read + until_write)
        entry = delayed(m, control["entry"], until_read, "entry")
        last = delayed(m, control["last"], until_read + until_write, "block_done")
        m.d.comb += [
            psum.read.eq(entry), partial.eq(psum.partial), psum.write_data.eq(sums),
            psum.write.eq(delayed(m, entry, until_write, "written_entry")),
            psum.write_valid.eq(valid), psum.write_last.eq(last),
        ]  # fmt: skip

    def _valid(self, m: Module, value: Value, cycles: int) -> Value:
        """The one bit of the pipeline that reset must clear."""
        line = Signal(cycles, name="in_flight")
        m.d.sync += line.eq(Cat(value, line))
        return line[-1]


def _check(overlay: Overlay) -> None:
    columns, heads, word = overlay.pe_array.columns, overlay.dataflow.packed_heads, overlay.ker.constant_bytes_per_cycle
    if heads == PACKED and columns // PACKED % COLUMNS:
        raise SpecError(
            f"overlay {overlay.name}: pe_array.columns = {columns}; two columns share a DSP and so a head, of which"
            f" there are dataflow.packed_heads = {heads}; must be a multiple of 4; nearest: {columns + COLUMNS}"
        )
    if word & (word - 1):
        raise SpecError(
            f"overlay {overlay.name}: ker.constant_bytes_per_cycle = {word}; tiles of router weights are cut into whole"
            f" words: must be a power of two; nearest: {1 << word.bit_length() - 1}"
        )
