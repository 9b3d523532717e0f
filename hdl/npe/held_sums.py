"""Held sums: the words of a row that wait for their partners in a level of additions."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.result_operation import single_words
from skipopu.hdl.npe.unit import Unit


class HeldSums(Unit):
    """Words of a row that wait for their partners; distributed RAM.

    Parameters
    ----------
    lanes, words : FP32 numbers of a word, words of a row

    Ports
    -----
    word : in, which · write (1), number : in · held : out, ``lanes`` × FP32

    Timing
    ------
    A write is seen from the next cycle on; ``held`` follows ``word`` in the same cycle.
    """

    STEPS = 0

    def __init__(self, *, lanes: int, words: int) -> None:
        self._depth = max(words, 2)
        super().__init__({
            "word": In(range(self._depth)), "write": In(1),
            "number": In(single_words(lanes)), "held": Out(single_words(lanes)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """One memory."""
        m = Module()
        m.submodules.sums = sums = Memory(shape=len(Value.cast(self.number)), depth=self._depth, init=[])
        write_port, read_port = sums.write_port(), sums.read_port(domain="comb")
        m.d.comb += [
            write_port.addr.eq(self._place()), write_port.en.eq(self.write), write_port.data.eq(self.number),
            read_port.addr.eq(self._place()), Value.cast(self.held).eq(read_port.data),
        ]  # fmt: skip
        return m

    def _place(self) -> Value:
        return self.word
