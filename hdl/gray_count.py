"""Gray count: how often something has happened in one clock domain, known in another."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from skipopu.hdl.clock_crossing import from_gray, gray, synchronised
from skipopu.hdl.verilog import Block


class GrayCount(Block):
    """Count events in the HBM clock and show the count in the core clock.

    Parameters
    ----------
    width : bits of the count, which wraps
    stages : flip-flops of the synchroniser

    Ports
    -----
    happens : in, HBM clock: count one
    count : out, core clock

    Timing
    ------
    An event of tick k is counted from core cycle (k + 1) // ratio + stages on. One event a tick.
    """

    def __init__(self, *, width: int, stages: int) -> None:
        self._width, self._stages = width, stages
        super().__init__({"happens": In(1), "count": Out(width)})

    @property
    def module(self) -> str:
        """One module a width."""
        return f"gray_count_{self._width}"

    def elaborate(self, platform: Any) -> Module:
        """A counter and its Gray code, which change together."""
        m = Module()
        events, following = (Signal(self._width, name=name) for name in ("events", "events_next"))
        code = Signal(self._width, name="events_gray")
        m.d.comb += following.eq(events + self.happens)
        m.d.hbm += [events.eq(following), code.eq(self._code(following))]
        m.d.comb += self.count.eq(from_gray(synchronised(m, code, self._stages, "sync", "events_gray")))
        return m

    def _code(self, count: Signal) -> Any:
        return gray(count)
