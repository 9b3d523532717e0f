"""Matrix result write: a word of results becomes part of a row tile."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.global_buffer import result_signature
from skipopu.hdl.matrix_layout import granules, tile_address
from skipopu.hdl.npe.result_operation import half_words, lanes_of
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import Block
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.spec.number_format import FP16
from skipopu.spec.overlay import Overlay


def target_layout(overlay: Overlay) -> data.StructLayout:
    """Where a word goes: tile, place in it; whether at all; as half a word; with −∞ in the rest of the tile."""
    return data.StructLayout({
        "address": tile_address(overlay), "granule": range(granules(overlay)), "inside": 1, "half": 1, "begins_tile": 1,
    })  # fmt: skip


class MatrixResultWrite(Block):
    """Words of results on their way into the global buffer.

    Parameters
    ----------
    overlay : pe_array, npe, global_buffer

    Ports
    -----
    target : in, with the request of a word · valid (1), word : in, the word, `Overlay.result_latency` later
    result : out, to the global buffer, in that cycle

    Timing
    ------
    Combinational from the word.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, self._granules = overlay, granules(overlay)
        super().__init__({
            "target": In(target_layout(overlay)), "valid": In(1), "word": In(half_words(lanes_of(overlay))),
            "result": Out(result_signature(overlay)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The word in every place, and a mask."""
        m = Module()
        target, result = delayed(m, self.target, self._overlay.result_latency, "target"), self.result
        here = [self._here(target, place) for place in range(self._granules)]
        parts = [
            Mux(target.begins_tile & ~chosen, self._hidden(), self._part(target, place))
            for place, chosen in enumerate(here)
        ]
        m.d.comb += [
            result.valid.eq(self.valid & target.inside), result.address.eq(target.address), result.data.eq(Cat(*parts)),
            result.mask.eq(Mux(target.begins_tile, ~Const(0, self._granules), Cat(*here))),
        ]  # fmt: skip
        return m

    def _here(self, target: Any, place: int) -> Value:
        """The granule is one of the word's: two of them, or one of half a word."""
        return Mux(target.half, target.granule == place, target.granule >> 1 == place >> 1)

    def _part(self, target: Any, place: int) -> Value:
        """The half of the word that belongs to a granule; half a word is its lower half."""
        word, bits = self.word.as_value(), lanes_of(self._overlay) // 2 * FP16.bits
        return word[:bits] if place % 2 == 0 else Mux(target.half, word[:bits], word[bits:])

    def _hidden(self) -> Value:
        return Const(NEGATIVE_INFINITY, FP16.bits).replicate(lanes_of(self._overlay) // 2)
