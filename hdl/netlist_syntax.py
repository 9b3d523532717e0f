"""pyverilog's syntax tree: kinds, walks, numbers and names of its nodes."""

from collections.abc import Iterator
from typing import Any

BASES = {"b": 2, "d": 10, "h": 16}


def words(node: Any) -> int:
    """Return the words of an array."""
    (length,) = node.dimensions.lengths
    ends = sorted((number(length.msb), number(length.lsb)))
    return ends[1] - ends[0] + 1


def width(node: Any) -> int:
    """Return the bits of a signal, or of a word of an array."""
    return 1 if node.width is None else abs(number(node.width.msb) - number(node.width.lsb)) + 1


def number(node: Any) -> int:
    """Return the value of a constant, with its sign."""
    return -number(node.right) if kind(node) == "Uminus" else _literal(node.value)


def _literal(text: str) -> int:
    """A decimal, or one with its width and its base: ``4'hb``."""
    _, apart, digits = text.rpartition("'")
    return int(digits[1:], BASES[digits[0]]) if apart else int(text)


def plain(name: str) -> str:
    """Return an identifier without its escape."""
    return name.removeprefix("\\").rstrip()


def kind(node: Any) -> str:
    """Return the name of the class, by which nodes are told apart."""
    return type(node).__name__


def nodes(roots: Any, of_kind: str) -> Iterator[Any]:
    """Yield every node of that kind below ``roots``."""
    yield from (node for root in roots for node in walk(root) if kind(node) == of_kind)


def walk(root: Any) -> Iterator[Any]:
    """Yield every node of a syntax tree; a stack, because concatenations and conditions nest deeply."""
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.children())
