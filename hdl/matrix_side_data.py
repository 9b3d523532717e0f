"""Matrix side data: what a word of results is scaled by, and what is added to it."""

from typing import Any

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.matrix_layout import granules
from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.narrowing import Widening
from skipopu.hdl.npe.result_operation import half_words, lanes_of, single_words
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.verilog import Block, place
from skipopu.spec.number_format import FP16
from skipopu.spec.overlay import Overlay

ONE = FP32.bias << FP32.fraction_bits


def choice_layout(overlay: Overlay) -> data.StructLayout:
    """What a word is scaled by, its own scales, 1/√d, or 1; and its place in the tile of residuals."""
    return data.StructLayout({"scaled": 1, "scores": 1, "granule": range(granules(overlay))})


class MatrixSideData(Block):
    """Scales in FP32; the part of a tile of residuals that belongs to the word.

    Parameters
    ----------
    overlay : pe_array, npe.lanes, global_buffer.read_stages

    Ports
    -----
    choice : in, with the request of a word · score_scale : in, FP32
    scales : in, FP16 a lane, ``read_stages`` later · tile : in, of residuals, like them
    scale : out, FP32 a lane · residual : out, FP16 a lane, in that cycle

    Timing
    ------
    Combinational from scales and tile.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._stages, self._lanes = overlay.global_buffer.read_stages, lanes_of(overlay)
        halves = half_words(self._lanes)
        super().__init__({
            "choice": In(choice_layout(overlay)), "score_scale": In(FP32.bits), "scales": In(halves),
            "tile": In(overlay.pe_array.dot_length * FP16.bits),
            "scale": Out(single_words(self._lanes)), "residual": Out(halves),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A widening a lane."""
        m = Module()
        choice = delayed(m, self.choice, self._stages, "choice")
        for lane in range(self._lanes):
            widening = place(m, f"lane{lane}", Widening(stages=0))
            m.d.comb += [
                widening.number.eq(self.scales[lane]),
                self.scale[lane].eq(Mux(choice.scaled, widening.result, self._constant(choice))),
            ]
        word = self.tile.word_select(choice.granule >> 1, self._lanes * FP16.bits)
        m.d.comb += self.residual.as_value().eq(word)
        return m

    def _constant(self, choice: Any) -> Value:
        return Mux(choice.scores, self.score_scale, ONE)
