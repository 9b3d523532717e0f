"""Result path: interleaved sums leave PSUM as words of results, scaled, rounded, and put through a function."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.constants_memory import word_write
from skipopu.hdl.npe.result_lanes import ResultLanes
from skipopu.hdl.npe.result_operation import (
    LOGITS,
    half_words,
    lanes_of,
    most_words,
    operation_layout,
    request_layout,
    rotary_depth,
    single_words,
    word_layout,
)
from skipopu.hdl.npe.result_request import ResultRequest
from skipopu.hdl.npe.rotary_buffer import RotaryAddress, RotaryBuffer
from skipopu.hdl.npe.slot_pairs import SlotPairs
from skipopu.hdl.npe.slot_sum import SlotSum
from skipopu.hdl.npe.word_select import WordSelect, inside
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.psum import result_layout
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import Gate
from skipopu.spec.npe import slot_levels
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import FP16_BYTES, Overlay


class ResultPath(Block):
    """The NPE behind the PE array (SkipOPU §4): entries of a row are added up, word by word, and become results.

    Parameters
    ----------
    overlay : pe_array.columns, psum, global_buffer.read_stages, npe; npe.lanes and pe_array.columns are even

    Ports
    -----
    operation : in, stream of `operation_layout`, looked at while valid, ready with the operation's last entry
    sums : in, stream of PSUM entries, all columns, in the order of operations, column blocks, rows, slots; ``end``
        marks the last one of an operation
    request : out, stream of `request_layout`: the last pair's word of a row goes; its side data are wanted
    list_row, list_gate, list_mask : out, number of that row among the executed ones, and which list says so
    list_index : in, in the same cycle: which row of the block that is
    scale (FP32), bias, residual (FP16), visible (1) : in, a value a lane, ``read_stages`` after the request
    rotary : in, `word_write`, for the ROT buffer: of each of its words the cosines below the sines
    logits_valid (1), logits, logits_row : out, the first columns' totals of a row of a route operation, FP32
    result_valid (1), result, result_word : out, a word of results, and where it belongs (`word_layout`)
    result_bank : out, of the statistics that its operation keeps
    pair_full, pair_final (1) : out, sums stand at the adders; they are the last ones of their row

    Timing
    ------
    A word a cycle. Logits stand `Overlay.slot_latency`, results `Overlay.result_latency` cycles after the request. A
    word with statistics waits until its statistics row has rested for npe.softmax_distance. ROT is read when the word
    has been narrowed: a word of ROT may be overwritten once the results that need it have left.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._lanes = overlay, lanes_of(overlay)
        single, half, depth = single_words(self._lanes), half_words(self._lanes), rotary_depth(overlay)
        entry_bits = overlay.pe_array.columns * FORMATS[overlay.psum.format].bits
        self._word = word_layout(overlay)
        super().__init__({
            "operation": In(stream.Signature(operation_layout(overlay))),
            "sums": In(stream.Signature(result_layout(entry_bits))),
            "request": Out(stream.Signature(request_layout(overlay))),
            "list_row": Out(ROW_BITS), "list_gate": Out(range(len(Gate))), "list_mask": Out(1),
            "list_index": In(ROW_BITS),
            "scale": In(single), "bias": In(half), "residual": In(half), "visible": In(self._lanes),
            "rotary": In(word_write(depth * self._lanes * FP16_BYTES)),
            "logits_valid": Out(1), "logits": Out(single_words(LOGITS)), "logits_row": Out(ROW_BITS),
            "result_valid": Out(1), "result": Out(half), "result_word": Out(self._word), "result_bank": Out(1),
            "pair_full": Out(1), "pair_final": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Pairs, their sums, lanes, and beside them what says where a word belongs."""
        m = Module()
        pairs = place(m, "pairs", SlotPairs(overlay=self._overlay))
        connect(m, flipped(self.operation), pairs.operation)
        connect(m, flipped(self.sums), pairs.sums)
        asking = self._request(m, pairs)
        total = self._total(m, pairs)
        o = self._overlay
        rest = o.slot_latency - o.global_buffer.read_stages
        arrived = delayed(m, asking.travelling, o.global_buffer.read_stages, "asked")
        summed = delayed(m, arrived, rest, "summed")
        lanes = place(m, "lanes", ResultLanes(overlay=o))
        self._side_data(m, lanes, arrived, rest)
        m.d.comb += [
            lanes.total.eq(total), lanes.post.eq(summed.function),
            lanes.with_bias.eq(summed.bias), lanes.with_residual.eq(summed.residual),
        ]  # fmt: skip
        self._rotary(m, pairs, asking.goes, lanes)
        self._outputs(m, asking.goes, total, summed, lanes)
        operation = pairs.pair.operation
        m.d.comb += [
            self.pair_full.eq(pairs.full), self.pair_final.eq(pairs.pair.final),
            self.list_gate.eq(operation.gate), self.list_mask.eq(operation.mask),
            self.result_bank.eq(delayed(m, operation.bank, o.result_latency, "bank")),
        ]  # fmt: skip
        return m

    def _request(self, m: Module, pairs: Any) -> Any:
        """The next word of a row's last pair asks."""
        asking = place(m, "asking", ResultRequest(overlay=self._overlay))
        connect(m, asking.request, flipped(self.request))
        m.d.comb += [
            *(getattr(asking, name).eq(getattr(pairs, name)) for name in ("full", "word", "word_last", "pair")),
            pairs.granted.eq(asking.granted), self.list_row.eq(asking.list_row), asking.list_index.eq(self.list_index),
        ]  # fmt: skip
        return asking

    def _total(self, m: Module, pairs: Any) -> Value:
        """The word of both entries, then the levels of additions, then what is left of the slot latency."""
        o = self._overlay
        levels = slot_levels(o.psum.interleave)
        block = SlotSum(lanes=self._lanes, words=most_words(o), levels=levels, stages=o.npe.add_stages)
        sums = place(m, "slot_sum", block)
        for name in ("a", "b"):
            select = place(m, f"select_{name}", WordSelect(overlay=o))
            m.d.comb += [
                select.entry.eq(getattr(pairs, name)), select.word.eq(pairs.word),
                select.split.eq(pairs.pair.operation.split), getattr(sums, name).eq(select.numbers),
            ]  # fmt: skip
        m.d.comb += [
            sums.sent.eq(pairs.sent), sums.both.eq(pairs.pair.both), sums.place.word.eq(pairs.word),
            sums.place.pair.eq(pairs.pair.pair), sums.place.final.eq(pairs.pair.final),
        ]  # fmt: skip
        total: Value = delayed(m, sums.total, o.slot_latency - levels * o.npe.add_stages, "total")
        return total

    def _side_data(self, m: Module, lanes: Any, arrived: Any, rest: int) -> None:
        """Side data wait for the totals; lanes without a column are as good as invisible."""
        hidden = named(m, Mux(arrived.word.masked, ~self._visible(m, arrived), 0), "hidden", self._lanes)
        m.d.comb += lanes.hidden.eq(delayed(m, hidden, rest, "hidden"))
        for name in ("scale", "bias", "residual"):
            m.d.comb += getattr(lanes, name).eq(self._waiting(m, name, rest))

    def _visible(self, m: Module, arrived: Any) -> Value:
        return self.visible & inside(m, self._overlay, arrived.word.word, arrived.split)

    def _waiting(self, m: Module, name: str, cycles: int) -> Any:
        return delayed(m, getattr(self, name), cycles, name)

    def _rotary(self, m: Module, pairs: Any, goes: Value, lanes: Any) -> None:
        """A cycle to the address, a cycle to the word, which stands when the results have been narrowed."""
        o, n = self._overlay, self._overlay.npe
        address = place(m, "rotary_place", RotaryAddress(words=rotary_depth(o)))
        buffer = place(m, "rotary", RotaryBuffer(lanes=self._lanes, words=rotary_depth(o)))
        connect(m, flipped(self.rotary), buffer.write)
        waiting = o.result_latency - n.function_stages - RotaryAddress.STEPS - RotaryBuffer.STEPS
        m.d.comb += [
            address.sent.eq(goes), address.index.eq(self._rotary_row()), address.word_last.eq(pairs.word_last),
            address.rotary_words.eq(pairs.pair.operation.rotary_words),
            address.rotary_stride.eq(pairs.pair.operation.rotary_stride),
            address.last_row.eq(pairs.pair.last_row), address.last.eq(pairs.pair.last),
            buffer.read_address.eq(delayed(m, address.address, waiting, "rotary_place")),
            lanes.cosines.eq(buffer.cosines), lanes.sines.eq(buffer.sines),
        ]  # fmt: skip

    def _rotary_row(self) -> Value:
        """Executed rows have gaps: the list says which row of the block it is."""
        index: Value = self.list_index
        return index

    def _outputs(self, m: Module, goes: Value, total: Any, summed: Any, lanes: Any) -> None:
        """Logits where the totals are, results after the lanes; reset clears what is in flight."""
        o = self._overlay
        in_flight = Signal(o.result_latency, name="in_flight")
        m.d.sync += in_flight.eq(Cat(goes, in_flight))
        kind = Signal(data.StructLayout({"word": self._word, "route": 1}), name="kind")
        m.d.comb += [kind.word.eq(summed.word), kind.route.eq(summed.route)]
        result = delayed(m, kind, o.result_latency - o.slot_latency, "in_lanes")
        m.d.comb += [
            self.logits_valid.eq(in_flight[o.slot_latency - 1] & summed.route & (summed.word.word == 0)),
            self.logits_row.eq(summed.word.row),
            *(self.logits[k].eq(total[k]) for k in range(min(LOGITS, self._lanes))),
            self.result_valid.eq(in_flight[-1] & ~result.route),
            self.result.eq(lanes.result),
            self.result_word.eq(result.word),
        ]
