"""Verilog for people: Yosys' temporaries folded back into expressions and registers; nothing else changes."""

import re
from collections.abc import Sequence

from skipopu.hdl.readable import naming, passes
from skipopu.hdl.readable.layout import put_together
from skipopu.hdl.readable.statements import take_apart

ESCAPED = re.compile(r"\\(\S+)( ?)")
WIDE_ZERO = re.compile(r"\b(\d+)'h0{17,}\b")  # more than 64 bits
ADOPTED = re.compile(r"^  assign (\w+) = (\\\$[a-z]\S*) ;$", re.MULTILINE)
PLAIN = str.maketrans({".": "__", "[": "__", "]": "", "$": "_"})
PASSES = (
    passes.clock_registers,
    naming.use_names,
    passes.fold,
    passes.sort_assignments,
    naming.share,
    passes.drop_unread,
    passes.group_registers,
    passes.fill_memories,
)


def readable(text: str, ports: Sequence[str]) -> str:
    """Return the module of ``text``, as written by Yosys, with its ports in the given order."""
    module = take_apart(_plain_names(_given_names(text)))
    for each in PASSES:
        each(module)
    spelled = [name if name in module.signals else f"{name}_" for name in ports]
    return _numbered(WIDE_ZERO.sub(r"\1'h0", put_together(module, spelled)))


def _given_names(text: str) -> str:
    """Call what Amaranth has named, ``\\$signature__addr``, as the design calls the same bits."""
    for name, made_up in ADOPTED.findall(text):
        declared = re.search(rf"^  wire (\[\d+:0\] )?{name};\n", text, re.MULTILINE)
        if declared and not re.search(rf"^  (input|output) .*\b{name};$", text, re.MULTILINE):
            text = text.replace(declared[0], "").replace(f"  assign {name} = {made_up} ;\n", "")
            text = text.replace(f"{made_up} ", name)
    return text


def _plain_names(text: str) -> str:
    """Drop escapes: ``a.exponent`` becomes ``a__exponent``, ``carry$10`` ``carry_10``, the temporary ``$7`` ``_7``.

    A name that is a keyword, of SystemVerilog too, gets an underscore: ``end_``.
    """
    taken = set(re.findall(r"\w+", text))
    plain: dict[str, str] = {}
    for name in dict.fromkeys(ESCAPED.findall(text)):
        word = name[0].translate(PLAIN)
        while word in taken:
            word += "_"
        taken.add(word)
        plain[name[0]] = word if word.isidentifier() else f"\\{name[0]} "
    return ESCAPED.sub(lambda match: plain[match[1]], text)


def _numbered(text: str) -> str:
    """Number what temporaries are left in the order they are met."""
    numbers: dict[str, str] = {}
    return re.sub(r"\b_\d+\b", lambda match: numbers.setdefault(match[0], f"_{len(numbers) + 1}"), text)
