"""A module as Yosys writes it, cut into declarations and statements."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from skipopu.hdl.readable.expression import LEAVES, NAME, Expression
from skipopu.hdl.readable.parser import UnreadableError, read

DECLARATION = re.compile(
    rf"  (?P<kind>input|output|wire|reg) (?:\[(?P<high>\d+):0\] )?(?P<name>{NAME}) *(?: = (?P<initial>\S+))?;$"
)
ASSIGNMENT = re.compile(r"(?P<indent> *)(?P<head>assign )?(?P<target>[^=]*?) *(?P<op><=|=) +(?P<value>.+);$")
CONDITION = re.compile(r"(?P<indent> *)(?P<head>(?:end else )?(?:if|casez) \()(?P<value>.+)(?P<tail>\)(?: begin)?)$")
CONNECTION = re.compile(rf"(?P<indent> *)(?P<head>\.(?:{NAME}) ?\()(?P<value>.+)(?P<tail>\),?)$")
MEMORY = re.compile(r"  reg .*\[\d+:0\];$")
TEMPORARY = re.compile(r"_\d+_?")
WHOLE = re.compile(NAME)
NOISE = (
    re.compile("dump_module"),  # a register that only wakes `always @*` at time 0
    re.compile(r"^ *\(\* (init|full_case) = .*\*\)$"),  # restates what stands in the text
    re.compile(r"^  (input|output|wire) \[-1:0\] "),  # a port of zero bits
)


@dataclass
class Signal:
    """A declared wire or register; ``direction`` is "" inside the module."""

    width: int
    kind: str = "wire"
    direction: str = ""
    initial: str | None = None
    attributes: tuple[str, ...] = ()
    alias: bool = False  # an inner wire that only renames bits of others


@dataclass
class Line:
    """``indent head target op value tail``; ``value`` is None where the line is kept as text, in ``head``."""

    head: str
    value: Expression | None = None
    tail: str = ""
    target: Expression | None = None
    op: str = ""
    indent: str = ""

    def __str__(self) -> str:
        target = "" if self.target is None else f"{self.target} ".replace("  ", " ") + f"{self.op} "
        return f"{self.indent}{self.head}{target}{'' if self.value is None else self.value}{self.tail}"

    def read_names(self) -> Iterator[str]:
        """Yield the names the line reads; all of a line that is kept as text, twice: nothing there can be replaced."""
        if self.value is not None:
            yield from self.value.names()
        elif self.target is None:
            yield from WHOLE.findall(self.head) * 2


@dataclass
class Statement:
    """One item of the module: "assign", "flop" (one register, one line), "process", "clocked" or "other"."""

    kind: str
    lines: list[Line]

    def targets(self) -> set[str]:
        """Names the statement drives."""
        return {name for line in self.lines if line.target for name in line.target.names()}


@dataclass
class Text:
    """A module in pieces."""

    name: str
    signals: dict[str, Signal] = field(default_factory=dict)
    memories: list[str] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)


def take_apart(text: str) -> Text:
    """Read one module of Yosys' text."""
    lines = [line.rstrip() for line in text.splitlines() if not any(each.search(line) for each in NOISE)]
    module = Text(lines[0].split()[1].partition("(")[0])
    rest: list[str] = []
    attributes: list[str] = []
    body = next(number for number, line in enumerate(lines) if line.endswith(");")) + 1
    for line in lines[body:-1]:
        match = DECLARATION.match(line + " " * line.endswith("\\"))
        if line.startswith("  (*"):
            attributes.append(line)
        elif match:
            _declare(module.signals, match, attributes)
            attributes = []
        elif MEMORY.match(line):
            module.memories += [*attributes, line]
            attributes = []
        else:
            rest += [*attributes, line]
            attributes = []
    widths = {name: signal.width for name, signal in module.signals.items()}
    module.statements = [_statement(block, widths) for block in _blocks(rest)]
    _mark_aliases(module)
    return module


def _mark_aliases(module: Text) -> None:
    for statement in module.statements:
        value = statement.lines[0].value
        renames = value and value.op in LEAVES and not any(temporary(name) for name in value.names())
        for name in statement.targets() if statement.kind == "assign" else ():
            signal = module.signals[name]
            signal.alias = bool(renames) and not signal.direction and not signal.attributes


def _declare(signals: dict[str, Signal], match: re.Match[str], attributes: Sequence[str]) -> None:
    signal = signals.setdefault(match["name"], Signal(int(match["high"] or 0) + 1))
    if match["kind"] in ("input", "output"):
        signal.direction = match["kind"]
    else:
        signal.kind, signal.initial = match["kind"], match["initial"]
    signal.attributes += tuple(attributes)


def _blocks(lines: Iterable[str]) -> Iterator[list[str]]:
    """Cut where the indentation is back at two; closing lines belong to what they close."""
    block: list[str] = []
    for line in lines:
        inner = line.startswith("   ") or line in ("  end", "  );") or (block[-1:] and block[-1].startswith("  (*"))
        if block and not inner:
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _statement(block: Sequence[str], widths: Mapping[str, int]) -> Statement:
    lines = [_line(text, widths) for text in block]
    if lines[0].head == "assign ":
        return Statement("assign", lines)
    if block[0] == "  always @* begin":
        return Statement("process", lines)
    if re.match(r"  always @\(posedge \S+ ?\)$", block[0]) and len(lines) == 2 and lines[1].target is not None:
        return Statement("flop", lines)
    return Statement("other", lines)


def _line(text: str, widths: Mapping[str, int]) -> Line:
    try:
        for pattern in (ASSIGNMENT, CONDITION, CONNECTION):
            match = pattern.match(text)
            if match:
                found = match.groupdict()
                target = read(found["target"], widths) if "target" in found else None
                value = read(found["value"], widths)
                tail = ";" if target else found["tail"]
                return Line(found["head"] or "", value, tail, target, found.get("op", ""), found["indent"])
    except UnreadableError:
        pass
    return Line(text)


def lines_of(module: Text) -> list[Line]:
    """Return every line of every statement."""
    return [line for statement in module.statements for line in statement.lines]


def temporary(name: str) -> bool:
    """Whether Yosys made the name up."""
    return TEMPORARY.fullmatch(name) is not None
