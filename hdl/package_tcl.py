"""Vivado script of the written overlay: its files become an IP with AXI interfaces, clocks and interrupt (UG1118)."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from skipopu.hdl.register_map import ADDRESS_BITS

if TYPE_CHECKING:
    from skipopu.hdl.package import Package

PART = "xcu280-fsvh2892-2L-e"
LITE = "s_axi"
CLOCKS = {"clk": "rst", "hbm_clk": "hbm_rst"}
HEAD = """\
# Packages the files of {top}.f as an IP in ./ip: vivado -mode batch -source {top}.tcl
set here [file dirname [file normalize [info script]]]
create_project -force {top} [file join $here project] -part {part}
set names [open [file join $here {top}.f]]
foreach name [split [string trim [read $names]] "\\n"] {{ add_files -norecurse [file join $here $name] }}
close $names
add_files -fileset constrs_1 -norecurse [file join $here {top}.xdc]
set_property top {top} [current_fileset]
ipx::package_project -root_dir [file join $here ip] -vendor skipopu -library overlay -taxonomy /UserIP -import_files
set core [ipx::current_core]

# an AXI interface: its name, master or slave, protocol, and pairs of logical and physical port
proc axi_interface {{core name mode protocol ports}} {{
  set bus [ipx::add_bus_interface $name $core]
  set_property abstraction_type_vlnv xilinx.com:interface:aximm_rtl:1.0 $bus
  set_property bus_type_vlnv xilinx.com:interface:aximm:1.0 $bus
  set_property interface_mode $mode $bus
  set_property value $protocol [ipx::add_bus_parameter PROTOCOL $bus]
  foreach {{logical physical}} $ports {{
    set_property physical_name $physical [ipx::add_port_map $logical $bus]
  }}
  return $bus
}}
# the addresses that a master reaches
proc address_space {{core bus name bits}} {{
  set space [ipx::add_address_space $name $core]
  set_property range [expr {{1 << $bits}}] $space
  set_property master_address_space_ref $name $bus
}}
proc clock_and_reset {{core clock reset interfaces}} {{
  ipx::infer_bus_interface $clock xilinx.com:signal:clock_rtl:1.0 $core
  ipx::infer_bus_interface $reset xilinx.com:signal:reset_rtl:1.0 $core
  set_property value ACTIVE_HIGH [ipx::add_bus_parameter POLARITY [ipx::get_bus_interfaces $reset -of_objects $core]]
  ipx::associate_bus_interfaces -clock $clock -reset $reset $core
  foreach name $interfaces {{ ipx::associate_bus_interfaces -busif $name -clock $clock $core }}
}}
"""
SLAVE = """
set bus [axi_interface $core {name} slave AXI4LITE {{
{ports}}}]
set map [ipx::add_memory_map {name} $core]
set block [ipx::add_address_block registers $map]
set_property range {bytes} $block
set_property width 32 $block
set_property slave_memory_map_ref {name} $bus
"""
MASTER = """
set bus [axi_interface $core {name} master AXI3 {{
{ports}}}]
address_space $core $bus {name} {bits}
"""
TAIL = """
# ASSOCIATED_BUSIF and ASSOCIATED_RESET of the clocks
{clocks}
ipx::infer_bus_interface interrupt xilinx.com:signal:interrupt_rtl:1.0 $core
set_property value LEVEL_HIGH [ipx::add_bus_parameter SENSITIVITY [ipx::get_bus_interfaces interrupt -of_objects $core]]
ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity $core
ipx::save_core $core
"""


def vivado(made: "Package") -> str:
    """Return the script."""
    widths = {port.name: port.bits for port in made.sheet.ports}
    masters = _masters(widths)
    interfaces = (MASTER.format(name=name, ports=_map(ports), bits=widths[ports["ARADDR"]])
                  for name, ports in masters.items())  # fmt: skip
    lite = {name.removeprefix(f"{LITE}_").upper(): name for name in widths if name.startswith(LITE)}
    slave = SLAVE.format(name=LITE, ports=_map(lite), bytes=1 << ADDRESS_BITS)
    head = HEAD.format(top=made.block, part=PART)
    return head + slave + "".join(interfaces) + TAIL.format(clocks="\n".join(_clocks(masters)))


def _masters(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Interface → logical → physical port: ``hbm__3__araddr`` is ARADDR of hbm_3."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        memory, _, rest = name.partition("__")
        number, _, signal = rest.partition("__")
        if number.isdigit():
            found.setdefault(f"{memory}_{number}", {})[signal.upper()] = name
    return found


def _map(ports: dict[str, str]) -> str:
    return "".join(f"  {logical} {physical}\n" for logical, physical in ports.items())


def _clocks(masters: Iterable[str]) -> Iterator[str]:
    of = {"hbm_clk": [name for name in masters if name.startswith("hbm")]}
    of["clk"] = [LITE, *(name for name in masters if name not in of["hbm_clk"])]
    yield from (f"clock_and_reset $core {clock} {reset} {{{' '.join(of[clock])}}}" for clock, reset in CLOCKS.items())
