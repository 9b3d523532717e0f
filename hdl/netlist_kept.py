"""Facts of a module's Verilog kept between runs: by its text, by pyverilog and by all that reads its tree."""

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from skipopu.hdl import multipliers, netlist, netlist_reader, netlist_registers, netlist_syntax
from skipopu.hdl.netlist import Memory, Netlist, Port
from skipopu.hdl.synthesis_cache import keep, kept, sources

CACHE = "netlists"
PARSER = "pyverilog"
READ_BY = (multipliers, netlist, netlist_reader, netlist_registers, netlist_syntax)


@cache
def read_module(name: str, text: str) -> Netlist:
    """Return the facts of module ``name``, read once; SpecError as `netlist_reader` has it."""
    identity = "\0".join((version(PARSER), sources(READ_BY), name, text))
    was = kept(CACHE, identity)
    if was is not None:
        return _netlist(was)
    found = netlist_reader.read_module(name, text)
    keep(CACHE, identity, asdict(found))
    return found


def _netlist(was: Mapping[str, Any]) -> Netlist:
    """As it was, from JSON."""
    return Netlist(**{
        **was,
        "ports": tuple(Port(**port) for port in was["ports"]),
        "memories": {name: Memory(**memory) for name, memory in was["memories"].items()},
        "multipliers": tuple((first, second) for first, second in was["multipliers"]),
    })  # fmt: skip
