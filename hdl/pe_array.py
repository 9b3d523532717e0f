"""PE array: one activation row a cycle times the loaded weight tile, summed in a PSUM half."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.column_pair import ColumnPair
from skipopu.hdl.ifm import Ifm
from skipopu.hdl.ker import Ker, granule_bytes
from skipopu.hdl.ker_bank import KerBank, part_bytes
from skipopu.hdl.operand import FP16_BITS, OPERAND, fp16_operand
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.psum import Psum, entry_layout, result_layout
from skipopu.hdl.tile_loop import OPERATION, ROW_REQUEST, TileLoop
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import BLOCK_RAM_READ, Overlay


class PeArray(Block):
    """``columns`` dot products of ``dot_length`` products a cycle, with KER, IFM and PSUM round them (SkipOPU §4.2).

    Parameters
    ----------
    overlay : sections pe_array, ifm, psum; width of the weight stream (dma.hbm_ports, clock.hbm_ratio)
    primitive : vendor primitives instead of behavioural DSPs

    Ports
    -----
    operation : in, stream of matrix operations: format of the weights, rows of a tile, K-tiles of a column block,
        column blocks; every bound ≥ 1, rows × min(interleave, depth) ≤ psum.entries
    weights : in, stream of tiles, column-major, whatever the HBM ports deliver in a core cycle
    request : out, stream: K-tile and row wanted next, column block by column block, K-tile by K-tile
    row, row_valid : in, the rows asked for, dot_length × FP16 each, in order; always taken
    results : out, stream of PSUM entries: row by row, slot by slot (slot = K-tile modulo interleave), ``columns`` sums;
        ``last`` marks the last of a column block
    busy : out, a row is issued in this cycle

    Timing
    ------
    A row is issued a cycle. From issue to sum in PSUM `Overlay.pe_latency` cycles = broadcast + multiply + align +
    tree + convert + accumulate; it can leave a cycle later. Words and requests begin the cycle after an operation is
    taken; the next operation is taken the cycle after the last row was issued, at the earliest.
    """

    def __init__(self, *, overlay: Overlay, primitive: bool = False) -> None:
        self._overlay, self._primitive = overlay, primitive
        pe = overlay.pe_array
        self._number = FORMATS[overlay.psum.format].bits
        super().__init__({
            "operation": In(stream.Signature(OPERATION)),
            "weights": In(stream.Signature(overlay.hbm_bytes_per_cycle * 8)),
            "request": Out(stream.Signature(ROW_REQUEST)),
            "row": In(pe.dot_length * FP16_BITS), "row_valid": In(1),
            "results": Out(stream.Signature(result_layout(pe.columns * self._number))),
            "busy": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Buffers, control, columns."""
        m = Module()
        ker, ifm, psum = self._buffers(m)
        operation, start, active = self._operation(m)
        for buffer in (ker, ifm):
            m.d.comb += [buffer.operation.eq(operation), buffer.start.eq(start), buffer.active.eq(active)]
        control = self._issue(m, operation, start, active, ker, ifm, psum)
        self._columns(m, operation, control, ker, ifm, psum)
        return m

    def _buffers(self, m: Module) -> tuple[Any, Any, Any]:
        o, pe = self._overlay, self._overlay.pe_array
        ker = place(m, "ker", Ker(
            columns=pe.columns, dot_length=pe.dot_length, word_bytes=o.hbm_bytes_per_cycle,
            broadcast_stages=pe.broadcast_stages,
        ))  # fmt: skip
        ifm = place(m, "ifm", Ifm(rows=o.ifm.rows, row_bits=pe.dot_length * FP16_BITS))
        psum = place(m, "psum", Psum(entries=o.psum.entries, entry_bits=pe.columns * self._number))
        connect(m, flipped(self.weights), ker.stream)
        m.d.comb += [ifm.row.eq(self.row), ifm.row_valid.eq(self.row_valid)]
        connect(m, ifm.request, flipped(self.request))
        connect(m, psum.results, flipped(self.results))
        return ker, ifm, psum

    def _operation(self, m: Module) -> tuple[Any, Value, Signal]:
        """Take an operation when there is none; it ends with its last row."""
        operation, active = Signal(OPERATION, name="current"), Signal(name="active")
        start = Signal(name="start")
        m.d.comb += [self.operation.ready.eq(~active), start.eq(self.operation.valid & ~active)]
        with m.If(start):
            m.d.sync += [operation.eq(self.operation.payload), active.eq(1)]
        return operation, start, active

    def _issue(
        self, m: Module, operation: Any, start: Value, active: Signal, ker: Any, ifm: Any, psum: Any
    ) -> dict[str, Value]:
        """Issue a row when weights, row and PSUM half are there; say where its sum belongs."""
        loop = TileLoop(m, operation)
        m.d.comb += [
            self.busy.eq(active & ker.loaded & ifm.valid & (~loop.first_of_block | psum.free)),
            ifm.issue.eq(self.busy), ker.tile_done.eq(self.busy & loop.last_row),
            psum.open.eq(self.busy & loop.first_of_block),
        ]  # fmt: skip
        entry = self._entry(m, loop, operation, start, psum)
        with m.If(start):
            loop.start()
        with m.Elif(self.busy):
            loop.advance()
            with m.If(loop.last):
                m.d.sync += active.eq(0)
        return {"valid": self.busy, "entry": entry, "last": loop.last_of_block}

    def _entry(self, m: Module, loop: TileLoop, operation: Any, start: Value, psum: Any) -> Any:
        """Address = row · interleave + slot; the first ``interleave`` K-tiles of a block find empty slots."""
        interleave, entries = self._overlay.psum.interleave, self._overlay.psum.entries
        slot, base = Signal(range(interleave), name="slot"), Signal(range(entries), name="row_base")
        half, entry = Signal(name="block_half"), Signal(entry_layout(entries), name="entry")
        slots = Mux(operation.depth < interleave, operation.depth, interleave)
        m.d.comb += [
            psum.open_entries.eq((operation.rows * slots)[: len(psum.open_entries)]),
            entry.half.eq(Mux(loop.first_of_block, psum.half, half)), entry.address.eq(base + slot),
            entry.first.eq(loop.tile < interleave),
        ]  # fmt: skip
        with m.If(self.busy):
            m.d.sync += [half.eq(entry.half), base.eq(Mux(loop.last_row, 0, base + slots))]
            with m.If(loop.last_row):
                m.d.sync += slot.eq(Mux(loop.last_of_block | (slot == interleave - 1), 0, slot + 1))
        with m.If(start):
            m.d.sync += [slot.eq(0), base.eq(0)]
        return entry

    def _columns(self, m: Module, operation: Any, control: dict[str, Value], ker: Any, ifm: Any, psum: Any) -> None:
        """Broadcast the row; let its entry travel beside the dot products to PSUM."""
        pe, pairs = self._overlay.pe_array, self._overlay.pe_array.columns // COLUMNS
        row, int4 = self._row(m, ifm), delayed(m, operation.int4, pe.broadcast_stages, "row_int4")
        block = ColumnPair(pe_array=pe, psum=self._overlay.psum, primitive=self._primitive)
        partial, sums = (Signal(pairs * COLUMNS * self._number, name=n) for n in ("partial", "sums"))
        places = [place(m, f"columns_{COLUMNS * i}", block) for i in range(pairs)]
        for i, pair in enumerate(places):
            bank = self._bank(m, i, operation, ker)
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

    def _bank(self, m: Module, pair: int, operation: Any, ker: Any) -> Any:
        """KER's registers for a column pair, wired to its place in the tile of either format."""
        o, length = self._overlay, self._overlay.pe_array.dot_length
        part = part_bytes(length, o.hbm_bytes_per_cycle)
        bank = place(m, f"weights_{COLUMNS * pair}", KerBank(dot_length=length, part_bytes=part))
        for data_in, write, int4 in ((bank.fp16, bank.fp16_write, 0), (bank.int4, bank.int4_write, 1)):
            parts = [self._part(ker, pair * len(write) + i, part) for i in range(len(write))]
            m.d.comb += [
                data_in.eq(Cat(*(value for value, _ in parts))),
                write.eq(Mux(operation.int4 == int4, Cat(*(enable for _, enable in parts)), 0)),
            ]
        m.d.comb += [
            bank.fill_half.eq(ker.fill_half), bank.read_half.eq(ker.read_half), bank.read_int4.eq(ker.read_int4)
        ]  # fmt: skip
        return bank

    def _part(self, ker: Any, number: int, size: int) -> tuple[Value, Value]:
        """Part ``number`` of the tile, ``size`` bytes: where it stands in KER's word, and whether it is written."""
        o = self._overlay
        start = number * size * 8 % (o.hbm_bytes_per_cycle * 8)
        bits = slice(start, start + size * 8)
        granule = number * size // granule_bytes(o.pe_array.columns, o.pe_array.dot_length, o.hbm_bytes_per_cycle)
        value = ker.word[bits]
        if hasattr(ker, "previous"):
            value = Mux(ker.from_previous[granule], ker.previous[bits], value)
        return value, ker.write[granule]

    def _row(self, m: Module, ifm: Any) -> Any:
        """The row's operands, registered on their way to all columns."""
        row = Signal(data.ArrayLayout(OPERAND, self._overlay.pe_array.dot_length), name="row_operands")
        for k in range(self._overlay.pe_array.dot_length):
            fp16_operand(m, row[k], ifm.data[k * FP16_BITS : (k + 1) * FP16_BITS])
        return delayed(m, row, self._overlay.pe_array.broadcast_stages, "row_operands")

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
