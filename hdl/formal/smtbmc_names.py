"""Names in emitted Verilog: the ports of a module, and signals below it, made visible on top."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from skipopu.spec.error import SpecError

BITS = r"(?:signed )?(?:\[(?P<high>\d+):0\] )?"
PORT = re.compile(rf"^  (?P<way>input|output) (?:reg )?{BITS}(?P<name>\w+),?$", re.MULTILINE)
INSTANCE = re.compile(r"^  (?P<module>\w+) \\?(?P<name>\w+) +\($", re.MULTILINE)
INSIDE = re.compile(r"\bdut(?P<path>(?:\.\w+)*)\.(?P<name>\w+)(?P<word>\[)?")
SIGNAL = r"^  (?:(?:input|output) )?(?:reg|wire|input|output) {}{}\b(?: \[(?P<last>\d+):0\])?"
FILLED = r"^      {}\[\w+\] = (?P<value>\S+);$"  # of every word


@dataclass(frozen=True)
class Port:
    """A port and its width."""

    name: str
    way: str
    bits: int

    @property
    def declaration(self) -> str:
        """The port as a wire; an input may be anything in every step."""
        return f"  {'(* anyseq *) ' if self.way == 'input' else ''}wire [{self.bits - 1}:0] {self.name};\n"


@dataclass(frozen=True)
class Header:
    """The ports of a module."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    @classmethod
    def of(cls, text: str) -> "Header":
        """Read the ports of an emitted module."""
        ports = [Port(m["name"], m["way"], int(m["high"] or 0) + 1) for m in PORT.finditer(text)]
        ways = (tuple(port for port in ports if port.way == way) for way in ("input", "output"))
        return cls(*ways)


def declarations(header: Header, clocks: Iterable[str]) -> str:
    """Return a wire a port; clocks and resets are not among them."""
    given = {name for clock in clocks for name in (clock, clock.replace("clk", "rst"))}
    ports = (*header.inputs, *header.outputs)
    return "".join(port.declaration for port in ports if port.name not in given)


def hierarchical(body: str, texts: Mapping[str, str], top: str) -> tuple[str, str]:
    """Return declarations for all ``dut.<path>.<signal>`` in ``body``, and the body as it must read then.

    Yosys connects a wire marked ``hierconn`` with what has its name below. The words of a memory are registers
    ``<memory>[<word>]``; the body sees them as an array. What a register that is made visible holds initially is lost
    on the way, and only of a memory brought back. SpecError for a name that is not there.
    """
    found: dict[str, str] = {}
    body = INSIDE.sub(partial(_visible, texts=texts, top=top, found=found), body)
    return "".join(found.values()), body


def _visible(match: re.Match[str], *, texts: Mapping[str, str], top: str, found: dict[str, str]) -> str:
    path = [part for part in match["path"].split(".") if part]
    module = _module(texts, top, path)
    signal = re.search(SIGNAL.format(BITS, match["name"]), texts[module], re.MULTILINE)
    if signal is None:
        raise SpecError(f"dut{match['path']}.{match['name']}: module {module} has no signal of this name")
    name, bits = ".".join(("dut", *path, match["name"])), f"[{signal['high'] or 0}:0]"
    if signal["last"] is None:
        found[name] = f"  (* hierconn *) wire {bits} \\{name} ;\n"
        return match[0]
    array = name.replace(".", "__")
    filled = re.search(FILLED.format(match["name"]), texts[module], re.MULTILINE)
    marks = "hierconn" if filled is None else f"hierconn, init = {filled['value']}"
    found[name] = _words(f"  (* {marks} *) wire {bits} \\{name}", array, bits, int(signal["last"]) + 1)
    return array + (match["word"] or "")


def _words(wire: str, array: str, bits: str, words: int) -> str:
    wires = "".join(f"{wire}[{k}] ;\n" for k in range(words))
    reads = "".join(f" {array}[{k}] = {wire.split()[-1]}[{k}] ;" for k in range(words))
    return f"{wires}  reg {bits} {array} [0:{words - 1}];\n  always @* begin{reads} end\n"


def _module(texts: Mapping[str, str], top: str, path: list[str]) -> str:
    """The module at the end of a path of instances."""
    for instance in path:
        placed = {match["name"]: match["module"] for match in INSTANCE.finditer(texts[top])}
        if instance not in placed:
            valid = ", ".join(placed)
            raise SpecError(f"dut.{'.'.join(path)}: module {top} has no instance {instance}; valid: {valid}")
        top = placed[instance]
    return top
