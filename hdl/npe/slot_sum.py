"""Slot sum: the interleaved sums of a row become one, pair by pair, in a pipeline of adders."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.held_sums import HeldSums
from skipopu.hdl.npe.optional_addition import OptionalAddition
from skipopu.hdl.npe.result_operation import single_words
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import place


class SlotSum(Unit):
    """Sum of a row's entries in the order of `numerics.psum.drain`; a level adds neighbours, an odd one out passes.

    Parameters
    ----------
    lanes, words : FP32 numbers of a word, most words of a row
    levels : of additions, `spec.npe.slot_levels`
    stages : latency in cycles of an addition

    Ports
    -----
    sent (1) : in, a word of a pair of entries comes; its place: word, number of the pair in its row, final (last pair)
    both (1), a, b : in, the word of the first entry, and of the second if there is one
    total : out, ``lanes`` × FP32

    Timing
    ------
    The total of a row's word stands ``levels`` · ``stages`` cycles after that word of its last pair. A word a cycle.
    """

    STEPS = 0

    def __init__(self, *, lanes: int, words: int, levels: int, stages: int) -> None:
        self._lanes, self._words, self._levels, self._stages = lanes, words, levels, stages
        self._place = data.StructLayout({"word": range(max(words, 2)), "pair": max(levels - 1, 1), "final": 1})
        super().__init__({
            "sent": In(1), "place": In(self._place), "both": In(1),
            "a": In(single_words(lanes)), "b": In(single_words(lanes)), "total": Out(single_words(lanes)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A row of adders a level; from the second on the first of two words waits."""
        m = Module()
        numbers, sent = self.a, self.sent
        if self._levels:
            numbers = self._added(m, 1, self.a, self.b, self.both)
        for level in range(2, self._levels + 1):
            came = self._came(m, sent, level)
            where = delayed(m, self.place, (level - 1) * self._stages, f"place{level}")
            second = named(m, where.pair[level - 2], f"second{level}")
            waits = named(m, came & ~second & ~where.final, f"waits{level}")
            held = place(m, f"held{level}", HeldSums(lanes=self._lanes, words=self._words))
            m.d.comb += [held.word.eq(where.word), held.write.eq(waits), held.number.eq(numbers)]
            numbers = self._added(m, level, numbers, held.held, second)
            sent = named(m, came & ~waits, f"goes{level}")
        m.d.comb += self.total.eq(numbers)
        return m

    def _came(self, m: Module, sent: Value, level: int) -> Value:
        """The words that went on from the level before; reset clears them."""
        line = Signal(self._stages, name=f"came{level}")
        m.d.sync += line.eq(Cat(sent, line))
        return line[-1]

    def _added(self, m: Module, level: int, a: Any, b: Any, present: Value) -> Any:
        found = Signal(single_words(self._lanes), name=f"sum{level}")
        for lane in range(self._lanes):
            addition = place(m, f"level{level}_lane{lane}", OptionalAddition(stages=self._stages))
            m.d.comb += [
                addition.a.eq(a[lane]), addition.b.eq(b[lane]), addition.present.eq(present),
                found[lane].eq(addition.result),
            ]  # fmt: skip
        return found
