"""Word select: the columns of an entry that stand in one word of results."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.narrowing import Widening
from skipopu.hdl.npe.result_operation import columns_of, lanes_of, most_words, single_words
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import Overlay


def word_cases(overlay: Overlay) -> list[tuple[int, range]]:
    """Return (word and, above it, the split bit as one number, columns of that word) for every word of a row."""
    bits = max((most_words(overlay) - 1).bit_length(), 1)
    words = [(split, word) for split in (0, 1) for word in range(most_words(overlay))]
    found = [(split << bits | word, columns_of(overlay, bool(split), word)) for split, word in words]
    return [(case, columns) for case, columns in found if columns]


class WordSelect(Block):
    """A word of an entry in FP32; a lane without a column is +0.

    Parameters
    ----------
    overlay : pe_array.columns, psum.format, npe.lanes

    Ports
    -----
    entry : in, all columns · word, split (1) : in, which word, of a row or of packed heads
    numbers : out, FP32; exact

    Timing
    ------
    None: combinational.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._format = overlay, overlay.psum.format
        self._bits = FORMATS[self._format].bits
        super().__init__({
            "entry": In(overlay.pe_array.columns * self._bits), "word": In(range(max(most_words(overlay), 2))),
            "split": In(1), "numbers": Out(single_words(lanes_of(overlay))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A multiplexer, and converters where sums are FP16."""
        m = Module()
        lanes = lanes_of(self._overlay)
        chosen = self._chosen(m, lanes)
        for lane in range(lanes):
            sums = chosen[lane * self._bits : (lane + 1) * self._bits]
            if self._format == "fp16":
                widening = place(m, f"lane{lane}", Widening(stages=0))
                m.d.comb += widening.number.eq(sums)
                sums = widening.result
            m.d.comb += self.numbers[lane].eq(sums)
        return m

    def _chosen(self, m: Module, lanes: int) -> Value:
        chosen = Signal(lanes * self._bits, name="chosen")
        with m.Switch(Cat(self.word, self.split)):
            for case, columns in word_cases(self._overlay):
                with m.Case(case):
                    m.d.comb += chosen.eq(self.entry[columns.start * self._bits : columns.stop * self._bits])
        return chosen


def inside(m: Module, overlay: Overlay, word: Value, split: Value) -> Value:
    """Return a bit a lane: it has a column."""
    found = Signal(lanes_of(overlay), name="has_column")
    with m.Switch(Cat(word, split)):
        for case, columns in word_cases(overlay):
            with m.Case(case):
                m.d.comb += found.eq(Const((1 << len(columns)) - 1, len(found)))
    return found
