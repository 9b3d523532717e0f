"""Router: two logits of a token are compared."""

from typing import Any

from amaranth.hdl import Module, Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.fields import FP32, fields
from skipopu.hdl.npe.unit import Unit
from skipopu.hdl.pipeline import delayed, named


def at_least(a: Value, b: Value) -> Value:
    """Return a ≥ b of two words of a format, neither of them NaN; −0 = +0."""
    a_magnitude, b_magnitude = a[:-1], b[:-1]
    alike = Mux(a[-1], a_magnitude <= b_magnitude, a_magnitude >= b_magnitude)
    return Mux(a[-1] == b[-1], alike, ~a[-1] | ~(a_magnitude.any() | b_magnitude.any()))


class Router(Unit):
    """Whether a token executes (`numerics.router.executes`): a tie and a NaN do.

    Parameters
    ----------
    stages : latency in cycles of the one step

    Ports
    -----
    execute, skip : in, logits, FP32 · executes (1) : out

    Timing
    ------
    Latency ``stages``, initiation interval 1, no reset.
    """

    STEPS = 1

    def __init__(self, *, stages: int) -> None:
        self._stages = stages
        super().__init__({"execute": In(FP32.bits), "skip": In(FP32.bits), "executes": Out(1)})

    def elaborate(self, platform: Any) -> Module:
        """One comparison of 31 bits."""
        m = Module()
        nan = [fields(m, logit, FP32, name).nan for name, logit in (("execute", self.execute), ("skip", self.skip))]
        executes = named(m, nan[0] | nan[1] | at_least(self.execute, self.skip), "executes_now")
        m.d.comb += self.executes.eq(delayed(m, executes, self._stages, "executes"))
        return m
