"""Reads an expression as Yosys writes them: one operator at a time, the rest in names."""

import re
from collections.abc import Mapping

from skipopu.hdl.readable.expression import ARITHMETIC, COMPARISONS, NAME, SHIFTS, Expression, binary, rebuilt

LITERAL = r"\d+'s?[bodh][0-9a-fxz?]+"
SYMBOL = r"<<<|>>>|[=!]==|[<>=!]=|<<|>>|&&|\|\||~\^|[-+*/%&|^~!<>?:,(){}\[\]]"
TOKEN = re.compile(rf"\s*({LITERAL}|\d+|\$signed|{NAME}|{SYMBOL})")


class UnreadableError(ValueError):
    """Text outside the grammar of this module; the statement it stands in is left as it is."""


def read(text: str, widths: Mapping[str, int]) -> Expression:
    """Parse an expression over signals of the given widths; UnreadableError where it holds anything else."""
    tokens, place = [], 0
    text = text.rstrip() + " "
    while text[place:].strip():
        match = TOKEN.match(text, place)
        if not match:
            raise UnreadableError(text)
        tokens.append(match[1])
        place = match.end()
    reader = _Reader(tokens, widths)
    expression = reader.expression()
    reader.expect("")
    return expression


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, tokens: list[str], widths: Mapping[str, int]) -> None:
        self._tokens, self._widths = [*tokens, ""], widths

    def expect(self, token: str) -> None:
        if self._tokens.pop(0) != token:
            raise UnreadableError(token)

    def expression(self) -> Expression:
        left = self._unary()
        op = self._tokens[0]
        if op == "?":
            self.expect("?")
            then = self._unary()
            self.expect(":")
            return rebuilt(Expression("?"), (left, then, self._unary()))
        if op in COMPARISONS | SHIFTS | ARITHMETIC:
            self.expect(op)
            return binary(op, left, self._unary())
        return left

    def _unary(self) -> Expression:
        op = self._tokens[0]
        if op not in ("~", "-", "!", "&", "|", "^"):
            return self._primary()
        self.expect(op)
        operand = self._unary()
        node = Expression(f"unary {op}", width=1)
        return rebuilt(node, (operand,))

    def _primary(self) -> Expression:
        token = self._tokens.pop(0)
        if token in ("$signed", "("):
            return self._bracketed(token)
        if token == "{":
            return self._concat()
        if re.fullmatch(LITERAL, token):
            size, _, digits = token.partition("'")
            return Expression("literal", (), token, int(size), digits.startswith("s"))
        return self._name(token)

    def _bracketed(self, token: str) -> Expression:
        if token == "$signed":
            self.expect("(")
        inner = self.expression()
        self.expect(")")
        return Expression("$signed", (inner,), "", inner.width, True) if token == "$signed" else inner

    def _concat(self) -> Expression:
        parts = [self.expression()]
        while self._tokens[0] == ",":
            self.expect(",")
            parts.append(self.expression())
        self.expect("}")
        return Expression("concat", tuple(parts), "", sum(part.width for part in parts))

    def _name(self, token: str) -> Expression:
        if token not in self._widths:
            raise UnreadableError(token)
        name = Expression("name", (), token, self._widths[token])
        if self._tokens[0] != "[":
            return name
        self.expect("[")
        bounds = [self._index()]
        if self._tokens[0] == ":":
            self.expect(":")
            bounds.append(self._index())
        self.expect("]")
        return Expression("slice", (name,), ":".join(map(str, bounds)), bounds[0] - bounds[-1] + 1)

    def _index(self) -> int:
        token = self._tokens.pop(0)
        if not token.isdecimal():
            raise UnreadableError(token)
        return int(token)
