"""Expressions of Verilog that know their width and sign, and how they are written.

Width and sign follow IEEE 1364-2005 §5.4 and §5.5, self-determined: what the expression has on its own.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

NAME = r"\\\S+(?=\s)|[A-Za-z_]\w*"
COMPARISONS = frozenset(("==", "!=", "===", "!==", "<", "<=", ">", ">=", "&&", "||"))
SHIFTS = frozenset(("<<", ">>", "<<<", ">>>"))
ARITHMETIC = frozenset(("+", "-", "*", "/", "%", "&", "|", "^", "~^"))
REDUCTIONS = frozenset(("unary !", "unary &", "unary |", "unary ^"))
LEAVES = frozenset(("name", "literal", "slice", "concat", "$signed"))
CLOSED = LEAVES | COMPARISONS | REDUCTIONS  # their bits do not depend on the width of what stands around them


# a + b - c is read from the left: the first operand needs no parentheses
CHAINS = {(a, b) for a in "+-" for b in "+-"} | {(op, op) for op in "*&|^"}


@dataclass(frozen=True)
class Expression:
    """A node: ``op`` is a Verilog operator, ``unary <operator>``, ``?`` or one of LEAVES."""

    op: str
    args: tuple["Expression", ...] = ()
    text: str = ""  # of a name or literal; the bounds of a slice
    width: int = field(default=0, compare=False)
    signed: bool = field(default=False, compare=False)

    def names(self) -> Iterator[str]:
        """Yield every name in the expression, as often as it occurs."""
        if self.op == "name":
            yield self.text
        for arg in self.args:
            yield from arg.names()

    def __str__(self) -> str:
        if self.op in ("name", "literal"):
            return self.text + " " * self.text.startswith("\\")
        if self.op == "slice":
            return f"{self.args[0]}[{self.text}]"
        if self.op == "concat":
            return "{ " + ", ".join(_repeated(self.args)) + " }"
        if self.op == "$signed":
            return f"$signed({self.args[0]})"
        words = [_operand(arg) for arg in self.args]
        if (self.op, self.args[0].op) in CHAINS:
            words[0] = str(self.args[0])
        if self.op == "?":
            return "{} ? {} : {}".format(*words)
        if self.op == "unary ~" and self.args[0].op == "unary |":
            return "!" + _operand(self.args[0].args[0])
        if self.op.startswith("unary "):
            return self.op.removeprefix("unary ") + words[0]
        return f"{words[0]} {self.op} {words[1]}"


def _operand(expression: Expression) -> str:
    text = str(expression)
    inverted = text[0] in "~!" and re.fullmatch(rf".(?:{NAME})\s?(?:\[[\d:]+\])?", text)
    return text if expression.op in LEAVES or inverted else f"({text})"


def _repeated(parts: tuple[Expression, ...]) -> Iterator[str]:
    """Print ``a, a, a`` as ``{3{a}}``."""
    words = [str(part) for part in parts]
    while words:
        same = next((n for n, word in enumerate(words) if word != words[0]), len(words))
        yield f"{{{same}{{{words[0]}}}}}" if same > 1 else words[0]
        words = words[same:]


def binary(op: str, left: Expression, right: Expression) -> Expression:
    """Return ``left op right`` with its own width and sign."""
    if op in COMPARISONS:
        return Expression(op, (left, right), width=1)
    if op in SHIFTS:
        return Expression(op, (left, right), width=left.width, signed=left.signed)
    return Expression(op, (left, right), "", max(left.width, right.width), left.signed and right.signed)


def rebuilt(node: Expression, args: tuple[Expression, ...]) -> Expression:
    """Return ``node`` over other arguments, width and sign computed afresh."""
    if node.op in CLOSED or node.op.startswith("unary "):
        closed = node.op in CLOSED
        width, signed = (node.width, node.signed) if closed else (args[0].width, args[0].signed)
        return Expression(node.op, args, node.text, width, signed)
    if node.op == "?":
        branches = binary("+", *args[1:])
        return Expression("?", args, "", branches.width, branches.signed)
    return binary(node.op, *args)
