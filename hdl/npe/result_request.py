"""Result request: a word of a row's last pair asks to go, for its side data are wanted at a fixed time after."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.result_operation import head_words, most_words, pair_layout, request_layout, travelling_layout
from skipopu.hdl.npe.scoreboard import Scoreboard
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import Post
from skipopu.spec.overlay import Overlay


class ResultRequest(Block):
    """Says where a word belongs, and holds it until its side data can come and its statistics row has rested.

    Parameters
    ----------
    overlay : pe_array.columns, psum.interleave, npe

    Ports
    -----
    full (1), word, word_last (1), pair : in, of `SlotPairs` · granted (1) : out, to it
    list_row : out, place of the word's row in the list · list_index : in, its row of the block
    request : out, stream of `request_layout`
    goes (1), travelling : out, a request fires, and what travels beside its word

    Timing
    ------
    Combinational, but for the place in the list, which is counted.
    Words of a statistics row are npe.softmax_distance cycles apart at least.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        super().__init__({
            "full": In(1), "word": In(range(most_words(overlay))), "word_last": In(1), "pair": In(pair_layout(overlay)),
            "granted": Out(1), "list_row": Out(ROW_BITS), "list_index": In(ROW_BITS),
            "request": Out(stream.Signature(request_layout(overlay))),
            "goes": Out(1), "travelling": Out(travelling_layout(overlay)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A row of the scoreboard and a place."""
        m = Module()
        operation, travelling = self.pair.operation, self.travelling
        self._place(m, operation, travelling.word)
        m.d.comb += [
            travelling.function.eq(operation.function), travelling.bias.eq(operation.bias),
            travelling.residual.eq(operation.function == Post.RESIDUAL), travelling.split.eq(operation.split),
            travelling.route.eq(operation.route),
        ]  # fmt: skip
        rested = self._rested(m, travelling.word)
        payload = self.request.payload
        shared = ("row", "index", "block", "word", "head", "part", "last", "masked")
        m.d.comb += [
            self.request.valid.eq(self.full & self.pair.final & rested), self.granted.eq(self.request.ready & rested),
            self.goes.eq(self.request.valid & self.request.ready),
            *(getattr(payload, name).eq(getattr(travelling.word, name)) for name in shared),
            payload.bias.eq(travelling.bias), payload.residual.eq(travelling.residual),
        ]  # fmt: skip
        return m

    def _place(self, m: Module, operation: Any, place: Any) -> None:
        """Of packed heads the second one's words come after the first one's."""
        words = head_words(self._overlay)
        head = named(m, operation.split & (self.word >= words), "head")
        m.d.comb += [
            self.list_row.eq(self._list_row(m, operation)),
            place.row.eq(self.pair.row), place.index.eq(self.list_index),
            place.block.eq(self.pair.block), place.word.eq(self.word), place.head.eq(head),
            place.part.eq(self.word - Mux(head, words, 0)), place.last.eq(self.pair.last & self.word_last),
            place.masked.eq(operation.masked), place.statistics.eq(operation.statistics),
            place.statistics_row.eq(self.pair.statistics_row + self._other_head(head, operation)),
            place.first_round.eq(self.pair.first_round),
        ]  # fmt: skip

    def _list_row(self, m: Module, operation: Any) -> Value:
        """It begins again with every query head of a group."""
        row = Signal(ROW_BITS, name="row_of_list")
        with m.If(self.goes & self.word_last):
            m.d.sync += row.eq(Mux(self.pair.last_row | (row == operation.list_rows - 1), 0, row + 1))
        return row

    def _other_head(self, head: Value, operation: Any) -> Value:
        """The second head's statistics rows follow the first one's."""
        return Mux(head, operation.rows, 0)

    def _rested(self, m: Module, word: Any) -> Value:
        """A word without statistics, or whose row has no tile still to be added."""
        block = Scoreboard(rows=self._overlay.npe.statistics_rows, distance=self._distance())
        scoreboard = place(m, "scoreboard", block)
        m.d.comb += [scoreboard.row.eq(word.statistics_row), scoreboard.granted.eq(self.goes & word.statistics)]
        rested: Value = named(m, scoreboard.free | ~word.statistics, "rested")
        return rested

    def _distance(self) -> int:
        return self._overlay.npe.softmax_distance
