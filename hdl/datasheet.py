"""What docstring and signature of a block say of its module: summary, timing, the meaning of every port."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from skipopu.hdl.netlist import Port
from skipopu.hdl.verilog import Block
from skipopu.spec.error import SpecError

ENTRY = re.compile(r"^(?P<names>\w+(?:, \w+)*) : (?:(?:in|out), )?(?P<text>.*)$")
INDEX = re.compile(r"__\d+__")
CLOCKING = {
    "clk": "core clock, rising edge", "rst": "reset, active high, synchronous",
    "hbm_clk": "HBM clock, rising edge", "hbm_rst": "reset of the HBM clock, active high, synchronous",
}  # fmt: skip
HANDSHAKE = {"valid": "the payload is there", "ready": "the payload is taken, if it is there"}


@dataclass(frozen=True)
class Field:
    """Bits ``high`` … ``low`` of a port that carries several values."""

    name: str
    high: int
    low: int


@dataclass(frozen=True)
class DescribedPort:
    """A port of the Verilog module with what the block says of it."""

    name: str
    direction: str
    bits: int
    meaning: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Datasheet:
    """A block as its reader sees it."""

    summary: str
    timing: str
    ports: tuple[DescribedPort, ...]


def folded(ports: Iterable[DescribedPort]) -> Iterator[DescribedPort]:
    """Yield ``ports``, those of an array once, with ``*`` for the index."""
    seen = set()
    for port in ports:
        name = INDEX.sub("__*__", port.name)
        if name not in seen:
            seen.add(name)
            yield replace(port, name=name)


def datasheet(block: Block, ports: tuple[Port, ...]) -> Datasheet:
    """Put the docstring of ``block`` beside the ``ports`` of its module; SpecError if it leaves one out."""
    sections = _sections(inspect.getdoc(type(block)) or "")
    meanings = dict(_entries(sections.get("Ports", [])))
    fields = dict(_payloads(block))
    return Datasheet(
        summary=sections[""][0],
        timing=" ".join(sections.get("Timing", [])),
        ports=tuple(
            DescribedPort(**vars(port), meaning=_meaning(port.name, meanings, block), fields=fields.get(port.name, ()))
            for port in ports
        ),
    )


def _meaning(port: str, meanings: dict[str, str], block: Block) -> str:
    name, _, part = port.partition("__")
    meaning = CLOCKING.get(port) or HANDSHAKE.get(part) or meanings.get(name)
    if not meaning:
        raise SpecError(f"module {block.module}: docstring of {type(block).__name__} leaves out port {port}")
    return meaning


def _sections(text: str) -> dict[str, list[str]]:
    """Lines by heading (a line over dashes); what stands before the first is under ""."""
    found: dict[str, list[str]] = {"": []}
    title, lines = "", text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if after and not after.strip("-"):
            title = line
            found[title] = []
        elif line.strip("-"):
            found[title].append(line)
    return found


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Name and meaning of each port; indented lines go on with the one before."""
    joined: list[str] = []
    for line in lines:
        if line.startswith(" ") and joined:
            joined[-1] += f" {line.strip()}"
        else:
            joined.append(line)
    for line in joined:
        match = ENTRY.match(line)
        if match:
            yield from ((name, match["text"]) for name in match["names"].split(", "))


def _payloads(block: Block) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Ports that carry a structure, with its fields from the lowest bit."""
    from amaranth.lib import data

    for path, member, _ in block.signature.flatten(block):
        shape: Any = member.shape
        if isinstance(shape, data.StructLayout):
            fields = ((str(name), each.offset, each.width) for name, each in shape)
            yield (
                "__".join(map(str, path)),
                tuple(Field(name, low + width - 1, low) for name, low, width in fields if width),
            )
