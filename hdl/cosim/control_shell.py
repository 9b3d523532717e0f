"""Control and the performance counters, and what the rest of the overlay shows them in a cycle."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.wiring import In

from skipopu.hdl.axi_lite import slave_ports
from skipopu.hdl.control import Control
from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS
from skipopu.hdl.performance_counters import PerformanceCounters
from skipopu.hdl.register_map import ADDRESS_BITS
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.status import STATUS
from skipopu.hdl.verilog import Block, place
from skipopu.spec import ledger
from skipopu.spec.overlay import Overlay

SHOWN = data.StructLayout({
    "running": 1, "ended": 1, "error": 1, "lost": 1, "status": STATUS, "retired": INDEX_BITS, "now": CYCLE_BITS,
    "causes": data.ArrayLayout(CAUSE, len(ledger.Block)),
})  # fmt: skip
HELD = ("start", "program_address", "program_count", "settings", "interrupt")


class ControlShell(Block):
    """`Control` with its `PerformanceCounters`.

    Parameters
    ----------
    overlay : as there

    Ports
    -----
    s_axi_* : AXI-Lite
    shown : in, the state of the machine
    start, program_address, program_count, settings, interrupt : out, see `Control`

    Timing
    ------
    None of its own.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._control = Control(overlay=overlay)
        mine = self._control.signature.members
        super().__init__({**slave_ports(ADDRESS_BITS), "shown": In(SHOWN), **{name: mine[name] for name in HELD}})

    def elaborate(self, platform: Any) -> Module:
        """Blocks and wires."""
        m = Module()
        control, counters = place(m, "control", self._control), place(m, "counters", PerformanceCounters())
        for name, member in slave_ports(ADDRESS_BITS).items():
            outer, inner = getattr(self, name), getattr(control, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        for name in ("running", "ended", "error", "lost", "status", "retired", "now"):
            m.d.comb += getattr(control, name).eq(getattr(self.shown, name))
        for name in HELD:
            m.d.comb += getattr(self, name).eq(getattr(control, name))
        m.d.comb += [
            counters.start.eq(control.start), counters.running.eq(self.shown.running),
            counters.block.eq(control.counter_block), counters.cause.eq(control.counter_cause),
            control.counter.eq(counters.found),
            *(counters.causes[block].eq(self.shown.causes[block]) for block in ledger.Block),
        ]  # fmt: skip
        return m
