"""pyverilog's syntax tree of one module → its facts. Nothing else in the package knows pyverilog."""

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

from skipopu.hdl.multipliers import Widths, multipliers
from skipopu.hdl.netlist import Netlist, Port
from skipopu.hdl.netlist_registers import clocked, memories
from skipopu.hdl.netlist_syntax import kind, nodes, plain, walk, width
from skipopu.spec.error import SpecError

# pyverilog has no place for attributes within statements
ATTRIBUTE = re.compile(r"\(\*(?!\s*\)).*?\*\)", re.DOTALL)
STYLE = re.compile(r"\(\* ram_style = \"(?P<style>\w+)\" \*\)\s*reg (?:\[\d+:\d+\] )?(?P<name>\w+) \[")
SIGNALS = ("Reg", "Wire", "Output", "Input")
DIRECTIONS = {"Input": "in", "Output": "out"}


def read_module(name: str, text: str) -> Netlist:
    """Return the facts of module ``name``; SpecError where ``text`` is not that module and nothing else."""
    definitions = [node for node in _parsed(name, text) if type(node).__name__ == "ModuleDef"]
    if [node.name for node in definitions] != [name]:
        what = ", ".join(node.name for node in definitions) or "no module"
        raise SpecError(f"Verilog of {name}: holds {what}; expected that module and nothing else")
    styles = {match["name"]: match["style"] for match in STYLE.finditer(text)}
    return _facts(definitions[0], styles)


def _parsed(name: str, text: str) -> tuple[Any, ...]:
    parser = _parser()
    from pyverilog.vparser.parser import ParseError

    try:
        definitions: tuple[Any, ...] = parser.parse(ATTRIBUTE.sub("", text)).description.definitions
    except ParseError as error:
        raise SpecError(f"Verilog of {name}: pyverilog cannot read it ({str(error).strip()})") from None
    return definitions


@cache
def _parser() -> Any:
    """A parser; it writes its tables into a directory that is gone when they are read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # pyverilog leaves its file VERSION open
        from pyverilog.vparser.parser import VerilogParser
    with tempfile.TemporaryDirectory(prefix="skipopu-") as scratch:
        return VerilogParser(outputdir=scratch, debug=False)


def _facts(module: Any, styles: Mapping[str, str]) -> Netlist:
    heading = [node for port in module.portlist.ports for node in (port, *port.children())]
    declared = [*heading, *(node for item in module.items if kind(item) == "Decl" for node in item.list)]
    widths = {node.name: width(node) for node in declared if kind(node) in SIGNALS}
    arrays = {node.name: node for node in declared if getattr(node, "dimensions", None) is not None}
    assigned, behind = clocked(module.items, widths, arrays)
    return Netlist(
        name=module.name,
        ports=_ports(module, declared),
        instances={plain(each.name): each.module for each in nodes(module.items, "Instance")},
        operators=_operators(module.items),
        flip_flops={plain(n): bits for n, bits in assigned.items() if n not in arrays and n not in behind},
        memories=memories(module.items, arrays, assigned, behind, styles),
        multipliers=tuple(multipliers(module.items, Widths(widths, {name: widths[name] for name in arrays}))),
    )


def _ports(module: Any, declared: list[Any]) -> tuple[Port, ...]:
    """Ports in the order of the module's heading."""
    found = {node.name: node for node in declared if kind(node) in DIRECTIONS}
    names = [port.first.name if kind(port) == "Ioport" else port.name for port in module.portlist.ports]
    return tuple(Port(plain(n), DIRECTIONS[kind(found[n])], width(found[n])) for n in names)


def _operators(items: Any) -> dict[str, int]:
    from pyverilog.utils.op2mark import op2mark
    from pyverilog.vparser.ast import Operator

    found = Counter(kind(node) for item in items for node in walk(item) if isinstance(node, Operator))
    return {op2mark(name) or name: count for name, count in sorted(found.items())}
