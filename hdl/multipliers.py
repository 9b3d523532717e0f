"""Multipliers of a module: how wide the factors of every ``*`` in pyverilog's syntax tree are."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

CONSTANTS = ("IntConst",)


class Widths(NamedTuple):
    """Bits of every signal, and of a word of every memory."""

    signals: Mapping[str, int]
    words: Mapping[str, int]


def multipliers(items: Iterable[Any], widths: Widths) -> Iterator[tuple[int, int]]:
    """Yield the bits of both factors, signs not counted; a product with a constant is no multiplier."""
    stack = list(items)
    while stack:
        node = stack.pop()
        stack.extend(node.children())
        if _kind(node) == "Times" and not any(_kind(factor) in CONSTANTS for factor in (node.left, node.right)):
            yield _magnitude(node.left, widths), _magnitude(node.right, widths)


def _magnitude(node: Any, widths: Widths) -> int:
    """Bits without the sign; a leading constant 0, which makes a signed number of an unsigned one, is one."""
    return max(width(node, widths) - int(_kind(node) == "SystemCall"), 1)


def width(node: Any, widths: Widths) -> int:
    """Bits of an expression, each part of it as wide as it is alone."""
    kind = _kind(node)
    if kind == "Identifier":
        return widths.signals[node.name]
    if kind == "IntConst":
        return _constant_width(node.value)
    if kind == "Pointer":
        return widths.words.get(node.var.name, 1)
    if kind == "Partselect":
        return int(node.msb.value) - int(node.lsb.value) + 1
    if kind == "Concat":
        return sum(width(each, widths) for each in node.list)
    if kind == "Repeat":
        return int(node.times.value) * width(node.value, widths)
    return _of_operands(node, widths)


def _constant_width(text: str) -> int:
    bits, apart, _ = text.partition("'")
    return int(bits) if apart else int(text).bit_length() + 1


def _of_operands(node: Any, widths: Widths) -> int:
    """A choice by its choices, a shift by what is shifted, anything else by its widest operand."""
    parts = node.children()
    if _kind(node) == "Cond":
        parts = parts[1:]
    elif _kind(node) in ("Sll", "Srl", "Sla", "Sra"):
        parts = parts[:1]
    elif _kind(node) == "SystemCall":
        parts = node.args
    return max(width(each, widths) for each in parts)


def _kind(node: Any) -> str:
    return type(node).__name__
