"""Verilog with one module a block: every block is converted once, alone, and its parents instantiate it by name.

Amaranth itself writes a copy of a submodule for every place it stands in (``pe``, ``pe$1``, …). Here a block is a
:class:`Block`, a parent puts it down with :func:`place`, and :func:`emit` returns one text a module.
"""

import contextlib
import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring

from skipopu.hdl.readable import readable
from skipopu.spec.error import SpecError

os.environ["AMARANTH_USE_YOSYS"] = "builtin"  # else an old system yosys may be taken without a word

PORT = re.compile(r"^  wire width [1-9]\d* (?:input|output) \d+ +(?:signed )?\\(?P<name>\S+)$", re.MULTILINE)
MODULE = re.compile(r"^module (?P<name>\S+)\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
YOSYS = (0, 40)  # what Amaranth itself asks for
PASSES = (
    "proc -nomux -norom",
    "memory_collect",
    *(f"attrmap {flag} -remove generator -remove top -remove amaranth.decoding" for flag in ("", "-modattr")),
    "write_verilog -norename",
)


class Block(wiring.Component):
    """A component that becomes one Verilog module of its own.

    Two blocks of one class, built from equal parameters, are the same block: they are converted once. Parameters are
    taken from the constructor call, keyword-only, defaults included; they must be hashable.
    """

    _parameters: tuple[tuple[str, Any], ...]

    def __new__(cls, **parameters: Any) -> Self:
        """Keep the parameters: with the class they are the identity of the block."""
        block: Self = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind(block, **parameters)
        bound.apply_defaults()
        block._parameters = tuple(bound.arguments.items())[1:]  # without self
        block._MustUse__used = True  # an equal block stands for it: it may never be elaborated itself
        return block

    def __init__(self, signature: Any = None) -> None:
        super().__init__(signature)

    @property
    def module(self) -> str:
        """Name of the Verilog module: the class in snake case; overridden where parameters change the module."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and (type(self), self._parameters) == (type(other), other._parameters)

    def __hash__(self) -> int:
        return hash((type(self), self._parameters))


@dataclass(frozen=True)
class _Converted:
    """A block in Yosys' intermediate language, with what a parent must know to instantiate it."""

    rtlil: str
    ports: tuple[str, ...]
    clocks: tuple[str, ...]  # clock domains that the block takes from its parent
    children: tuple[Block, ...]


_open: list[dict[Block, None]] = []  # one entry a conversion under way: the blocks placed so far


def place(m: Module, name: str, block: Block) -> Any:
    """Instantiate the module of ``block`` in ``m`` under ``name`` and return its interface.

    Ports become signals ``<name>__<port>`` of the parent; the returned object has them as attributes, with the shapes,
    arrays, streams and directions of ``block.signature`` seen from outside, so that ``wiring.connect`` takes it. Clock
    and reset are connected where the block has them, from the domain of the same name.
    """
    converted = _converted(block)
    if _open:
        _open[-1][block] = None
    interface = block.signature.create(path=(name,))
    wires = [(path, flow, value) for path, flow, value in _flat(block.signature, interface) if path in converted.ports]
    ports = [("i" if flow == wiring.In else "o", path, value) for path, flow, value in wires]
    m.submodules[name] = Instance(block.module, *ports, *_clock_ports(converted))
    return interface


def _flat(signature: Any, interface: Any) -> Iterator[tuple[str, wiring.Flow, Value]]:
    for path, member, value in signature.flatten(interface):
        yield "__".join(map(str, path)), member.flow, Value.cast(value)


def _clock_ports(converted: _Converted) -> Iterator[tuple[str, str, Value]]:
    for domain in converted.clocks:
        prefix = "" if domain == "sync" else f"{domain}_"
        for name, signal in ((f"{prefix}clk", ClockSignal(domain)), (f"{prefix}rst", ResetSignal(domain))):
            if name in converted.ports:
                yield "i", name, signal


@cache
def _converted(block: Block) -> _Converted:
    from amaranth.back import rtlil

    clocks: list[str] = []

    def missing_domain(name: str) -> ClockDomain:
        clocks.append(name)
        return ClockDomain(name)

    _open.append({})
    try:
        text = rtlil.convert(block, block.module, emit_src=False, missing_domain=missing_domain)
    finally:
        children = tuple(_open.pop())
    ports = tuple(match["name"] for match in PORT.finditer(text))
    return _Converted(text, ports, tuple(sorted(clocks)), children)


def emit(block: Block) -> dict[str, str]:
    """Return module name → Verilog of ``block`` and all below it, children first; SpecError on a name taken twice."""
    blocks: dict[str, Block] = {}
    _collect(block, blocks)
    unwritten = [each for each in blocks.values() if each not in _written]
    if unwritten:
        texts = _verilog("".join(_converted(each).rtlil for each in unwritten))
        _written.update((each, _heading(each) + readable(texts[each.module], _ports(each))) for each in unwritten)
    return {name: _written[each] for name, each in blocks.items()}


def write_verilog(block: Block, directory: Path) -> Path:
    """Write one file a module and the list of them, ``<top>.f``, children first; return the path of the list."""
    texts = emit(block)
    files = {f"{name}.v": text for name, text in texts.items()}
    files[f"{block.module}.f"] = "".join(f"{name}.v\n" for name in texts)
    for name, text in files.items():
        _write(directory / name, text)
    return directory / f"{block.module}.f"


_written: dict[Block, str] = {}


def _collect(block: Block, blocks: dict[str, Block]) -> None:
    for child in _converted(block).children:
        _collect(child, blocks)
    other = blocks.setdefault(block.module, block)
    if other != block:
        what = f"two different blocks are called so: {other!r} and {block!r}"
        raise SpecError(f"module {block.module}: {what}; override `module` to tell them apart")


def _verilog(rtlil: str) -> dict[str, str]:
    """Translate modules of Yosys' intermediate language; return the text of each, from ``module`` on."""
    from amaranth.back import verilog

    script = f"read_rtlil <<rtlil\n{rtlil}\nrtlil\n" + "\n".join(PASSES)
    text = verilog.find_yosys(lambda version: version >= YOSYS).run(["-q", "-"], script, ignore_warnings=True)
    return {match["name"]: match[0] for match in MODULE.finditer(text)}


def _ports(block: Block) -> list[str]:
    """Ports as they are read: clocks and resets, then the signature."""
    converted = _converted(block)
    named = [path for path, _, _ in _flat(block.signature, block) if path in converted.ports]
    return [*(name for _, name, _ in _clock_ports(converted)), *named]


def _heading(block: Block) -> str:
    summary = (type(block).__doc__ or "").strip().splitlines()
    return "".join(f"// {line}\n" for line in summary[:1])


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    except OSError as error:
        raise SpecError(f"{path}: cannot be written ({error.strerror}); give a writable directory") from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
