"""KER slots: the tokens of a round, and what of their chunks the tile takes."""

from typing import Any

from amaranth.hdl import Array, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.operand import FP16_BITS
from skipopu.hdl.verilog import Block
from skipopu.spec.ker_shape import KerShape


class KerSlots(Block):
    """A token's slot is its column of K and its place in the dot product of V.

    It is the number of the token's lane; with fewer slots than lanes it is its rank among the lanes of the round.

    Parameters
    ----------
    shape : sizes of tiles and chunks

    Ports
    -----
    chunks, mask : in, a chunk of every lane, and which lanes have a token
    segment : in, which tile of the chunk is written
    present : out, a bit a slot: it has a token
    keys, values : out, a slot's elements of a piece of a K tile, of a V tile

    Timing
    ------
    Combinational.
    """

    def __init__(self, *, shape: KerShape) -> None:
        self._shape = shape
        self._key_bits = min(shape.key, shape.chunk) * FP16_BITS
        self._value_bits = shape.value_part * FP16_BITS
        super().__init__({
            "chunks": In(data.ArrayLayout(shape.chunk * FP16_BITS, shape.lanes)), "mask": In(shape.lanes),
            "segment": In(range(max(shape.segments, 2))), "present": Out(shape.slots),
            "keys": Out(data.ArrayLayout(self._key_bits, shape.slots)),
            "values": Out(data.ArrayLayout(self._value_bits, shape.slots)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A chunk a slot, then the part of it."""
        m = Module()
        ranks = self._ranks(m) if self._shape.by_rank else []
        for slot in range(self._shape.slots):
            chunk, present = self._ranked(m, slot, ranks) if ranks else (self.chunks[slot], self.mask[slot])
            m.d.comb += [
                self.present[slot].eq(present), self.keys[slot].eq(segment_of(chunk, self.segment, self._key_bits)),
                self.values[slot].eq(segment_of(chunk, self.segment, self._value_bits)),
            ]  # fmt: skip
        return m

    def _ranks(self, m: Module) -> list[Signal]:
        """Of every lane, how many lanes before it have a token."""
        ranks, count = [], Value.cast(0)
        for lane in range(self._shape.lanes):
            rank = Signal(range(self._shape.lanes), name=f"rank{lane}")
            m.d.comb += rank.eq(count)
            count = rank + self.mask[lane]
            ranks.append(rank)
        return ranks

    def _ranked(self, m: Module, slot: int, ranks: list[Signal]) -> tuple[Value, Value]:
        """The chunk of the lane with that rank, and whether there is one; a slot has no lane before its own number."""
        chunk, present = Signal(self._shape.chunk * FP16_BITS, name=f"chunk{slot}"), Signal(name=f"present{slot}")
        for lane in range(slot, self._shape.lanes):
            with m.If(self.mask[lane] & (ranks[lane] == slot)):
                m.d.comb += [chunk.eq(self.chunks[lane]), present.eq(1)]
        return chunk, present


def segment_of(word: Value, segment: Value, size: int) -> Value:
    """Part number ``segment`` of ``word``, ``size`` bits; all of it if it is no longer."""
    parts = len(word) // size
    if parts <= 1:
        return word
    each = Array(word[part * size : (part + 1) * size] for part in range(parts))
    return Value.cast(each[segment[: (parts - 1).bit_length()]])
