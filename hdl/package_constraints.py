"""Constraints of a written block: its clocks, and what is to be known of the paths between them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

BETWEEN = """\
# Between the clocks only Gray code and what it guards pass. With the clocks from one source these paths are timed like
# any other; the first flip-flops of the synchronisers are the cells below. Only where the clocks come from sources of
# their own: set_max_delay -datapath_only of one period of the faster clock to them, and set_bus_skew of the same.
set_property ASYNC_REG TRUE [get_cells -hierarchical -filter {NAME =~ *_gray_seen_*}]
"""
AXI = "# AXI: hbm ports belong to hbm_clk; ddr ports and s_axi to clk. Their delays are those of the cores they meet.\n"


def constraints(made: "Package") -> str:
    """Return them, XDC."""
    clock, names = made.overlay.clock, {port.name for port in made.sheet.ports}
    text = (
        f"# Core clock of overlay {made.overlay.name}: clock.core_mhz = {clock.core_mhz:g}; rounded down\n"
        f"create_clock -name clk -period {made.period_ns:.3f} [get_ports clk]\n"
    )
    if "hbm_clk" in names:
        text += (
            f"# HBM clock: clock.hbm_ratio = {clock.hbm_ratio} times as fast, from the same source, edges aligned\n"
            f"create_clock -name hbm_clk -period {made.period_ns / clock.hbm_ratio:.3f} [get_ports hbm_clk]\n"
            f"{BETWEEN}"
        )
    return text + AXI if "s_axi_awvalid" in names else text
