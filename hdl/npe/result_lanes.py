"""Result lanes: a word of totals becomes a word of FP16 results."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.result_function import ResultFunction
from skipopu.hdl.npe.result_operation import FUNCTION_BITS, half_words, lanes_of, single_words
from skipopu.hdl.npe.result_scaling import ResultScaling
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block, place
from skipopu.program.isa import Post
from skipopu.spec.number_format import FP16
from skipopu.spec.overlay import Overlay

NOTHING = 1 << FP16.bits - 1  # −0: added to a number, or to −0, it changes nothing
HIDDEN = FP16.infinity | 1 << FP16.bits - 1  # −∞: e^x of it is 0


class ResultLanes(Block):
    """Scale, bias, residual, rounding, function, a word a cycle (`numerics.result_path`).

    Parameters
    ----------
    overlay : pe_array.columns, npe

    Ports
    -----
    total, scale, bias, residual : in, a number a lane, the first two FP32, the others FP16
    with_bias, with_residual (1), post, hidden : in, beside them; post: `Post`; hidden, a bit a lane: −∞
    cosines, sines : in, FP16 a pair of lanes, as long after them as scaling takes (`ResultScaling`)
    result : out, FP16 a lane. SwiGLU leaves lanes / 2 results in the lower lanes and zero above

    Timing
    ------
    Latency scale_stages + 2 · add_stages + narrow_stages + function_stages, initiation interval 1, no reset.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._npe, self._lanes = overlay.npe, lanes_of(overlay)
        single, half, pairs = single_words(self._lanes), half_words(self._lanes), half_words(self._lanes // 2)
        super().__init__({
            "total": In(single), "scale": In(single), "bias": In(half), "residual": In(half),
            "with_bias": In(1), "with_residual": In(1), "post": In(FUNCTION_BITS), "hidden": In(self._lanes),
            "cosines": In(pairs), "sines": In(pairs), "result": Out(half),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Lane by lane, then pair by pair."""
        m = Module()
        n = self._npe
        until_function = n.scale_stages + 2 * n.add_stages + n.narrow_stages
        numbers = [self._scaled(m, lane) for lane in range(self._lanes)]
        post = delayed(m, self.post, until_function, "post")
        rectify = named(m, post == Post.RELU, "rectify")
        chosen = delayed(m, post, n.function_stages, "chosen")
        hidden = delayed(m, self.hidden, until_function + n.function_stages, "hidden")
        results, gated = self._functions(m, numbers, rectify, chosen)
        is_gated = named(m, chosen == Post.SWIGLU, "is_gated")
        for lane, result in enumerate(results):
            packed = gated[lane] if lane < len(gated) else Const(0, FP16.bits)
            found = Mux(hidden[lane], Const(HIDDEN, FP16.bits), Mux(is_gated, packed, result))
            m.d.comb += self.result[lane].eq(found)
        return m

    def _functions(
        self, m: Module, numbers: list[Value], rectify: Value, post: Value
    ) -> tuple[list[Value], list[Value]]:
        """A result a lane, and a gated one a pair."""
        results, gated = [], []
        for pair in range(self._lanes // 2):
            unit = place(m, f"pair{pair}", ResultFunction(gelu=self._npe.gelu, stages=self._npe.function_stages))
            m.d.comb += [
                Cat(unit.even, unit.odd).eq(Cat(numbers[2 * pair : 2 * pair + 2])), unit.rectify.eq(rectify),
                unit.cosine.eq(self.cosines[pair]), unit.sine.eq(self.sines[pair]), unit.post.eq(post),
            ]  # fmt: skip
            results += [unit.result_even, unit.result_odd]
            gated.append(unit.gated)
        return results, gated

    def _scaled(self, m: Module, lane: int) -> Value:
        """What is not to be added is −0."""
        n = self._npe
        block = ResultScaling(scale_stages=n.scale_stages, add_stages=n.add_stages, narrow_stages=n.narrow_stages)
        scaling = place(m, f"lane{lane}", block)
        m.d.comb += [
            scaling.total.eq(self.total[lane]), scaling.scale.eq(self.scale[lane]),
            scaling.bias.eq(Mux(self.with_bias, self.bias[lane], NOTHING)),
            scaling.residual.eq(Mux(self.with_residual, self.residual[lane], NOTHING)),
        ]  # fmt: skip
        number: Value = scaling.number
        return number
