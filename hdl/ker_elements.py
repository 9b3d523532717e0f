"""KER elements: where in a piece each weight of a K tile, a V tile, or a tile of router weights is found."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from skipopu.hdl.ker_slots import segment_of
from skipopu.hdl.operand import FP16_BITS
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import takes
from skipopu.spec.ker_shape import LOGITS, KerShape
from skipopu.spec.number_format import COLUMNS_PER_DSP as COLUMNS
from skipopu.spec.tile_source import TileSource

Element = tuple[Value, Value]  # a weight, and whether it is written
NOTHING: Element = (Const(0, FP16_BITS), Const(0, 1))


class KerElements:
    """Wires from the slots of a round and from the word of router weights to the weights of a tile.

    ``write``, ``segment``: of `KerPieces`; ``slots``: a `KerSlots`; ``word``: router weights.
    """

    def __init__(
        self, m: Module, *, shape: KerShape, operation: Any, write: Value, segment: Value, slots: Any, word: Value
    ) -> None:
        self._m, self._shape, self._operation, self._write, self._slots = m, shape, operation, write, slots
        self._constant = named(m, takes(operation, TileSource.CONSTANT), "of_constants")
        self._many = named(m, operation.width == LOGITS[-1], "many_logits")
        self._word = self._turned(m, segment, word)

    def _turned(self, m: Module, segment: Value, word: Value) -> Value:
        """What of the word is in the tile."""
        few, many = (segment_of(word, segment, n * self._shape.dot_length * FP16_BITS) for n in LOGITS)
        turned = Signal(max(len(few), len(many)), name="router_weights")
        m.d.comb += turned.eq(Mux(self._many, many, few))
        return turned

    def pair(self, number: int) -> tuple[Value, Value]:
        """Weights of a column pair, and which of them are written."""
        columns = range(COLUMNS * number, COLUMNS * (number + 1))
        keys, values = self._all("keys", self.key, columns), self._all("values", self.value, columns)
        found = [Mux(self._operation.value, value, key) for key, value in zip(keys, values, strict=True)]
        if columns[0] >= LOGITS[-1]:
            return found[0], Mux(self._constant, 0, found[1])
        constants = self._all("constants", self.constant, columns)
        weights, write = (Mux(self._constant, c, other) for c, other in zip(constants, found, strict=True))
        return weights, write

    def _all(self, name: str, find: Callable[[int, int], Element], columns: range) -> tuple[Value, Value]:
        elements = [find(column, k) for column in columns for k in range(self._shape.dot_length)]
        weights, write = Cat(*(value for value, _ in elements)), Cat(*(write for _, write in elements))
        m, first = self._m, columns[0]
        return named(m, weights, f"{name}_{first}"), named(m, write, f"{name}_write_{first}")

    def key(self, column: int, k: int) -> Element:
        """Columns are slots, of each head in its half; elements of a token: head by head."""
        shape = self._shape
        head, slot = divmod(column, shape.columns // 2)
        if head >= shape.heads or slot >= shape.slots:
            return NOTHING
        piece, place = divmod(head * shape.dot_length + k, min(shape.key, shape.chunk))
        return self._slot(self._slots.keys[slot], place), self._write[piece] & self._slots.present[slot]

    def value(self, column: int, k: int) -> Element:
        """Places in the dot product are slots; elements of a token: columns."""
        shape = self._shape
        piece, place = divmod(column, shape.value_part)
        if k >= shape.slots or piece >= shape.value_pieces:
            return NOTHING
        return self._slot(self._slots.values[k], place), self._write[piece] & self._slots.present[k]

    def constant(self, column: int, k: int) -> Element:
        """Column by column."""
        if column >= LOGITS[-1]:
            return NOTHING
        piece, place = divmod(column * self._shape.dot_length + k, self._shape.word)
        there = Const(1, 1) if column < LOGITS[0] else self._many
        return self._slot(self._word, place), self._write[piece] & there

    def _slot(self, elements: Value, place: int) -> Value:
        return elements[place * FP16_BITS : (place + 1) * FP16_BITS]
