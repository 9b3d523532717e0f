"""Registers and memories of a module: what clock edges assign, and how arrays are read and written."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from skipopu.hdl.netlist import Memory
from skipopu.hdl.netlist_syntax import kind, nodes, number, plain, walk, width, words

UNNAMED = re.compile(r"_\d+_")


def clocked(items: Any, widths: Mapping[str, int], arrays: Mapping[str, Any]) -> tuple[dict[str, int], dict[str, str]]:
    """Return registers with how many bits clock edges assign; registers that hold what was read, with the memory."""
    bits: dict[str, set[int]] = {}
    behind: dict[str, str] = {}
    for node in nodes(filter(_is_clocked, items), "NonblockingSubstitution"):
        for name, places in _targets(node.left.var, widths, arrays):
            bits.setdefault(name, set()).update(places)
            behind.update((name, source) for source in _sources(node.right) if source in arrays)
    return {name: len(places) for name, places in bits.items()}, behind


def _is_clocked(item: Any) -> bool:
    return kind(item) == "Always" and any(sense.type == "posedge" for sense in item.sens_list.list)


def _reads_now(item: Any) -> bool:
    """Neither on a clock edge nor before the first one."""
    return kind(item) != "Initial" and not _is_clocked(item)


def _targets(target: Any, widths: Mapping[str, int], arrays: Mapping[str, Any]) -> Iterator[tuple[str, range]]:
    """Names and bits that an assignment writes."""
    if kind(target) == "LConcat":
        for each in target.list:
            yield from _targets(each, widths, arrays)
        return
    name = _root(target)
    if name not in arrays and kind(target) == "Partselect":
        yield name, range(number(target.lsb), number(target.msb) + 1)
    elif name not in arrays and kind(target) == "Pointer" and kind(target.ptr) == "IntConst":
        yield name, range(number(target.ptr), number(target.ptr) + 1)
    else:  # a whole register, or any bit or word of it
        yield name, range(widths[name])


def _root(target: Any) -> str:
    """The register of which an assignment writes a part."""
    while kind(target) != "Identifier":
        target = target.var
    name: str = target.name
    return name


def _sources(value: Any) -> Iterator[str]:
    """Names that are indexed in an expression."""
    yield from (_root(node) for node in walk(value) if kind(node) == "Pointer")


def memories(
    items: Any, arrays: Mapping[str, Any], assigned: Mapping[str, int], behind: Mapping[str, str],
    styles: Mapping[str, str],
) -> dict[str, Memory]:  # fmt: skip
    """Return every array, and how it is read and written."""
    reads = [read for item in items if _reads_now(item) for read in nodes([item], "Pointer")]
    late = Counter(_root(read) for read in reads if _is_address_register(read.ptr))
    immediate = Counter(_root(read) for read in reads if not _is_address_register(read.ptr))
    return {
        plain(name): Memory(
            words=words(node),
            bits=width(node),
            read_bits=sum(assigned[register] for register, memory in behind.items() if memory == name)
            + late[name] * width(node),
            immediate=immediate[name],
            addressed=late[name],
            written=name in assigned,
            style=styles.get(name, ""),
        )
        for name, node in arrays.items()
    }


def _is_address_register(place: Any) -> bool:
    """Of a read that sees the write of the same cycle: Yosys keeps its address, without a name, instead of the word."""
    return kind(place) == "Identifier" and bool(UNNAMED.fullmatch(place.name))
