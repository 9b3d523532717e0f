"""What docstring and signature of a block say of its module: summary, timing, the meaning of every port."""

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from skipopu.hdl.netlist import Port
from skipopu.hdl.verilog import Block
from skipopu.spec.error import SpecError

NAMES = r"[\w*]+(?: \(\w+\))?(?:, [\w*]+(?: \(\w+\))?)*"  # with a star for any letters, and bits of each in brackets
ENTRY = re.compile(rf"^(?P<names>{NAMES}) : (?:(?:in|out), )?(?P<text>.*)$")
NEXT = re.compile(rf" · (?={NAMES} : )")  # several ports in one line
BITS = re.compile(r" \(\w+\)")
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
    meaning = CLOCKING.get(port) or HANDSHAKE.get(part) or meanings.get(name) or _of_a_group(name, meanings)
    if not meaning:
        raise SpecError(f"module {block.module}: docstring of {type(block).__name__} leaves out port {port}")
    return meaning


def _of_a_group(name: str, meanings: dict[str, str]) -> str | None:
    """Of the first entry with a star that ``name`` falls under."""
    return next((text for entry, text in meanings.items() if "*" in entry and fnmatchcase(name, entry)), None)


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
    for entry in (part for line in joined for part in NEXT.split(line)):
        match = ENTRY.match(entry)
        if match:
            yield from ((name, match["text"]) for name in BITS.sub("", match["names"]).split(", "))


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
