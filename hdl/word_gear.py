"""Word gear: words from DDR4 in, row tiles out, whichever of them is wider."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.ddr_ports import WORD_BYTES
from skipopu.hdl.verilog import Block


class WordGear(Block):
    """Cut words into row tiles, or put row tiles together from words.

    Parameters
    ----------
    tile_bytes : a power of two

    Ports
    -----
    start : in, what is left of a word is forgotten; nothing moves in this cycle
    word : in, stream of words of `WORD_BYTES`
    tile : out, stream of tiles

    Timing
    ------
    A tile stands at the output in the cycle in which its last word is taken, and until it is taken. A word is taken
    when no tile was left over by the cycle before: a tile or a word a cycle.
    """

    def __init__(self, *, tile_bytes: int) -> None:
        self._tile = tile_bytes
        super().__init__({
            "start": In(1),
            "word": In(stream.Signature(WORD_BYTES * 8)), "tile": Out(stream.Signature(tile_bytes * 8)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """One of both."""
        m = Module()
        takes, leaves = Signal(name="takes"), Signal(name="leaves")
        m.d.comb += [takes.eq(self.word.valid & self.word.ready), leaves.eq(self.tile.valid & self.tile.ready)]
        if self._tile > WORD_BYTES:
            self._gather(m, takes, leaves)
        else:
            self._cut(m, takes, leaves)
        return m

    def _cut(self, m: Module, takes: Signal, leaves: Signal) -> None:
        """The rest of a word, its next tile lowest, and how many tiles it holds."""
        parts = WORD_BYTES // self._tile
        rest, left = Signal(WORD_BYTES * 8, name="rest", reset_less=True), Signal(range(parts + 1), name="left")
        current = Signal(WORD_BYTES * 8, name="current")
        m.d.comb += [
            self.word.ready.eq(left == 0), self.tile.valid.eq(self.word.valid | left.any()),
            current.eq(Mux(left.any(), rest, self.word.payload)), self.tile.payload.eq(current),
        ]  # fmt: skip
        m.d.sync += rest.eq(Mux(leaves, current >> self._tile * 8, current))
        with m.If(self.start):
            m.d.sync += left.eq(0)
        with m.Elif(takes | left.any()):
            m.d.sync += left.eq(Mux(left.any(), left, parts) - leaves)

    def _gather(self, m: Module, takes: Signal, leaves: Signal) -> None:
        """The words before the last one, and how many there are."""
        parts = self._tile // WORD_BYTES
        held, count = Signal(self._tile * 8, name="held", reset_less=True), Signal(range(parts + 1), name="count")
        joined = Signal(self._tile * 8, name="joined")  # words come in from above
        m.d.comb += [
            self.word.ready.eq(count < parts), joined.eq(Cat(held, self.word.payload)[WORD_BYTES * 8 :]),
            self.tile.valid.eq((count == parts) | ((count == parts - 1) & self.word.valid)),
            self.tile.payload.eq(Mux(count == parts, held, joined)),
        ]  # fmt: skip
        with m.If(takes):
            m.d.sync += held.eq(joined)
        with m.If(self.start | leaves):
            m.d.sync += count.eq(0)
        with m.Elif(takes):
            m.d.sync += count.eq(count + 1)
