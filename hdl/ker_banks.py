"""KER banks: the wires from KER's streams to the weights beside each column pair."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Value

from skipopu.hdl.ker_bank import KerBank, part_bytes
from skipopu.hdl.ker_elements import KerElements
from skipopu.hdl.ker_slots import KerSlots
from skipopu.hdl.ker_words import granule_bytes
from skipopu.hdl.verilog import place
from skipopu.spec.ker_shape import KerShape
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS


class KerBanks:
    """A `KerBank` for each column pair, placed in the array.

    ``ker``: the placed `Ker`; ``chunk``: payload of the stream of K/V; ``word``: of the router weights.
    """

    def __init__(
        self, m: Module, *, shape: KerShape, word_bytes: int, operation: Any, ker: Any, chunk: Any, word: Value
    ) -> None:
        self._m, self._shape, self._word_bytes, self._operation, self._ker = m, shape, word_bytes, operation, ker
        slots = place(m, "slots", KerSlots(shape=shape))
        m.d.comb += [slots.chunks.eq(chunk.data), slots.mask.eq(chunk.mask), slots.segment.eq(ker.segment)]
        self._elements = KerElements(
            m, shape=shape, operation=operation, write=ker.piece_write, segment=ker.segment, slots=slots, word=word
        )

    def pair(self, number: int) -> Any:
        """KER's registers for a column pair, wired to its place in the tile of either format."""
        m, ker, length = self._m, self._ker, self._shape.dot_length
        part = part_bytes(length, self._word_bytes)
        bank = place(m, f"weights_{COLUMNS * number}", KerBank(dot_length=length, part_bytes=part))
        for data_in, write, int4 in ((bank.fp16, bank.fp16_write, 0), (bank.int4, bank.int4_write, 1)):
            parts = [self._part(number * len(write) + i, part) for i in range(len(write))]
            m.d.comb += [
                data_in.eq(Cat(*(value for value, _ in parts))),
                write.eq(Mux(self._operation.int4 == int4, Cat(*(enable for _, enable in parts)), 0)),
            ]
        element, element_write = self._elements.pair(number)
        m.d.comb += [
            bank.element.eq(element), bank.element_write.eq(element_write), bank.clear.eq(ker.begins),
            bank.fill_half.eq(ker.fill_half), bank.read_half.eq(ker.read_half), bank.read_int4.eq(ker.read_int4),
        ]  # fmt: skip
        return bank

    def _part(self, number: int, size: int) -> tuple[Value, Value]:
        """Part ``number`` of the tile, ``size`` bytes: where it stands in KER's word, and whether it is written."""
        shape, ker = self._shape, self._ker
        start = number * size * 8 % (self._word_bytes * 8)
        bits = slice(start, start + size * 8)
        granule = number * size // granule_bytes(shape.columns, shape.dot_length, self._word_bytes)
        value = ker.word[bits]
        if hasattr(ker, "previous"):
            value = Mux(ker.from_previous[granule], ker.previous[bits], value)
        return value, ker.write[granule]
