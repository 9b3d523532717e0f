"""pyverilog's syntax tree of one module → its facts. Nothing else in the package knows pyverilog."""

import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from skipopu.hdl.multipliers import Widths, multipliers
from skipopu.hdl.netlist import Memory, Netlist, Port
from skipopu.spec.error import SpecError

# pyverilog has no place for attributes within statements
ATTRIBUTE = re.compile(r"\(\*(?!\s*\)).*?\*\)", re.DOTALL)
STYLE = re.compile(r"\(\* ram_style = \"(?P<style>\w+)\" \*\)\s*reg (?:\[\d+:\d+\] )?(?P<name>\w+) \[")
UNNAMED = re.compile(r"_\d+_")
BASES = {"b": 2, "d": 10, "h": 16}
SIGNALS = ("Reg", "Wire", "Output", "Input")
DIRECTIONS = {"Input": "in", "Output": "out"}


@cache
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
    declared = [*heading, *(node for item in module.items if _kind(item) == "Decl" for node in item.list)]
    widths = {node.name: _width(node) for node in declared if _kind(node) in SIGNALS}
    arrays = {node.name: node for node in declared if getattr(node, "dimensions", None) is not None}
    assigned, behind = _clocked(module.items, widths, arrays)
    return Netlist(
        name=module.name,
        ports=_ports(module, declared),
        instances={_plain(each.name): each.module for each in _nodes(module.items, "Instance")},
        operators=_operators(module.items),
        flip_flops={_plain(n): bits for n, bits in assigned.items() if n not in arrays and n not in behind},
        memories=_memories(module.items, arrays, assigned, behind, styles),
        multipliers=tuple(multipliers(module.items, Widths(widths, {name: widths[name] for name in arrays}))),
    )


def _ports(module: Any, declared: list[Any]) -> tuple[Port, ...]:
    """Ports in the order of the module's heading."""
    found = {node.name: node for node in declared if _kind(node) in DIRECTIONS}
    names = [port.first.name if _kind(port) == "Ioport" else port.name for port in module.portlist.ports]
    return tuple(Port(_plain(n), DIRECTIONS[_kind(found[n])], _width(found[n])) for n in names)


def _operators(items: Any) -> dict[str, int]:
    from pyverilog.utils.op2mark import op2mark
    from pyverilog.vparser.ast import Operator

    found = Counter(_kind(node) for item in items for node in _walk(item) if isinstance(node, Operator))
    return {op2mark(name) or name: count for name, count in sorted(found.items())}


def _clocked(items: Any, widths: Mapping[str, int], arrays: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, str]]:
    """Registers with how many bits clock edges assign; registers that hold what was read, with the memory."""
    bits: dict[str, set[int]] = {}
    behind: dict[str, str] = {}
    for node in _nodes(filter(_is_clocked, items), "NonblockingSubstitution"):
        for name, places in _targets(node.left.var, widths, arrays):
            bits.setdefault(name, set()).update(places)
            behind.update((name, source) for source in _sources(node.right) if source in arrays)
    return {name: len(places) for name, places in bits.items()}, behind


def _is_clocked(item: Any) -> bool:
    return _kind(item) == "Always" and any(sense.type == "posedge" for sense in item.sens_list.list)


def _reads_now(item: Any) -> bool:
    """Neither on a clock edge nor before the first one."""
    return _kind(item) != "Initial" and not _is_clocked(item)


def _targets(target: Any, widths: Mapping[str, int], arrays: Mapping[str, Any]) -> Iterator[tuple[str, range]]:
    """Names and bits that an assignment writes."""
    if _kind(target) == "LConcat":
        for each in target.list:
            yield from _targets(each, widths, arrays)
        return
    name = _root(target)
    if name not in arrays and _kind(target) == "Partselect":
        yield name, range(_number(target.lsb), _number(target.msb) + 1)
    elif name not in arrays and _kind(target) == "Pointer" and _kind(target.ptr) == "IntConst":
        yield name, range(_number(target.ptr), _number(target.ptr) + 1)
    else:  # a whole register, or any bit or word of it
        yield name, range(widths[name])


def _root(target: Any) -> str:
    """The register of which an assignment writes a part."""
    while _kind(target) != "Identifier":
        target = target.var
    name: str = target.name
    return name


def _sources(value: Any) -> Iterator[str]:
    """Names that are indexed in an expression."""
    yield from (_root(node) for node in _walk(value) if _kind(node) == "Pointer")


def _memories(
    items: Any, arrays: Mapping[str, Any], assigned: Mapping[str, int], behind: Mapping[str, str],
    styles: Mapping[str, str],
) -> dict[str, Memory]:  # fmt: skip
    """Every array, and how it is read and written."""
    reads = [read for item in items if _reads_now(item) for read in _nodes([item], "Pointer")]
    late = Counter(_root(read) for read in reads if _is_address_register(read.ptr))
    immediate = Counter(_root(read) for read in reads if not _is_address_register(read.ptr))
    return {
        _plain(name): Memory(
            words=_words(node),
            bits=_width(node),
            read_bits=sum(assigned[register] for register, memory in behind.items() if memory == name)
            + late[name] * _width(node),
            immediate=immediate[name],
            written=name in assigned,
            style=styles.get(name, ""),
        )
        for name, node in arrays.items()
    }


def _is_address_register(place: Any) -> bool:
    """Of a read that sees the write of the same cycle: Yosys keeps its address, without a name, instead of the word."""
    return _kind(place) == "Identifier" and bool(UNNAMED.fullmatch(place.name))


def _words(node: Any) -> int:
    (length,) = node.dimensions.lengths
    ends = sorted((_number(length.msb), _number(length.lsb)))
    return ends[1] - ends[0] + 1


def _width(node: Any) -> int:
    return 1 if node.width is None else abs(_number(node.width.msb) - _number(node.width.lsb)) + 1


def _number(node: Any) -> int:
    return -_number(node.right) if _kind(node) == "Uminus" else _literal(node.value)


def _literal(text: str) -> int:
    """A decimal, or one with its width and its base: ``4'hb``."""
    _, apart, digits = text.rpartition("'")
    return int(digits[1:], BASES[digits[0]]) if apart else int(text)


def _plain(name: str) -> str:
    """An identifier without its escape."""
    return name.removeprefix("\\").rstrip()


def _kind(node: Any) -> str:
    return type(node).__name__


def _nodes(roots: Any, kind: str) -> Iterator[Any]:
    yield from (node for root in roots for node in _walk(root) if _kind(node) == kind)


def _walk(root: Any) -> Iterator[Any]:
    """Every node of a syntax tree; a stack, because concatenations and conditions nest deeply."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children())
