"""When an expression may stand in the place of the wire it was assigned to: when every bit comes out the same.

Verilog evaluates an operand as wide as the widest thing around it, and signed only where everything is signed
(IEEE 1364-2005 §5.4, §5.5). A wire cuts its expression to its own width and makes it unsigned; folding must not matter
to either.
"""

from dataclasses import dataclass

from skipopu.hdl.readable.expression import CLOSED, COMPARISONS, REDUCTIONS, SHIFTS, Expression, rebuilt
from skipopu.hdl.readable.statements import Line

LOW_BITS = frozenset(("+", "-", "*", "&", "|", "^", "unary ~", "unary -", "?"))  # low bits come from low bits alone
RIGHTWARD = frozenset((">>", ">>>", "/", "%"))  # low bits come from high bits


@dataclass(frozen=True)
class _Context:
    """How wide an operand is evaluated; ``firm``: because of the assigned signal, not of a neighbour."""

    width: int
    signed: bool
    firm: bool = False
    closed: bool = False  # only what does not depend on its context may enter


def folded(line: Line, name: str, value: Expression) -> Expression | None:
    """Return the value of ``line`` with ``value`` for the one occurrence of ``name``; None where bits could change."""
    if line.value is None or line.head.startswith((".", "casez")):
        return None
    if line.target is None:  # the condition of an `if`
        return _substituted(line.value, name, value, None)
    width = line.target.width
    if line.value.op == "name" and line.value.width == width:
        return value
    if line.value.op == "slice" and line.value.text in (f"{width - 1}:0", "0") and line.value.args[0].text == name:
        return value if value.op in LOW_BITS else None
    firm = width >= line.value.width
    context = _Context(max(width, line.value.width), line.value.signed, firm)
    return _substituted(line.value, name, value, context)


def _substituted(node: Expression, name: str, value: Expression, context: _Context | None) -> Expression | None:
    """Return ``node`` with ``value`` for the leaf ``name``; ``context`` None means as wide as it is by itself."""
    if node.op == "name":
        return value if _fits(value, node.width, context) else None
    if node.op == "$signed" and node.args[0].text == name and _fits_signed(value, node.width, context):
        return value
    if node.op == "slice":
        return None  # only a name can be sliced
    for index, arg in enumerate(node.args):
        if name in arg.names():
            new = _substituted(arg, name, value, _operand_context(node, index, context))
            return None if new is None else rebuilt(node, (*node.args[:index], new, *node.args[index + 1 :]))
    return None


def _fits(value: Expression, width: int, context: _Context | None) -> bool:
    if context is None:
        return value.width == width
    if value.signed:
        return False
    if value.op in CLOSED:
        return value.width == width
    if context.closed:
        return False
    if context.width == width:
        return value.width == width or context.firm
    bounds = _range(value)
    return context.firm and bounds is not None and bounds[0] >= 0 and bounds[1] < 1 << width


def _fits_signed(value: Expression, width: int, context: _Context | None) -> bool:
    if context is None or context.closed or not (context.firm and context.signed and value.signed):
        return False
    bounds = _range(value)
    half = 1 << (width - 1)
    return bounds is not None and -half <= bounds[0] and bounds[1] < half


def _range(value: Expression) -> tuple[int, int] | None:
    """Smallest and largest value in unbounded arithmetic; None where that is not known."""
    if value.op == "$signed":
        half = 1 << (value.width - 1)
        return -half, half - 1
    if value.op in CLOSED:
        return 0, (1 << value.width) - 1
    if value.op not in ("+", "-", "*", "unary -", "?"):
        return None
    ranges = [_range(arg) for arg in (value.args[1:] if value.op == "?" else value.args)]
    known = [each for each in ranges if each is not None]
    return _combined(value.op, known) if len(known) == len(ranges) else None


def _combined(op: str, ranges: list[tuple[int, int]]) -> tuple[int, int]:
    low, high = ranges[0]
    if op == "unary -":
        return -high, -low
    other_low, other_high = ranges[1]
    if op == "?":
        return min(low, other_low), max(high, other_high)
    if op == "+":
        return low + other_low, high + other_high
    if op == "-":
        return low - other_high, high - other_low
    corners = [a * b for a in (low, high) for b in (other_low, other_high)]
    return min(corners), max(corners)


def _operand_context(node: Expression, index: int, context: _Context | None) -> _Context | None:
    """Context of argument ``index`` of ``node`` (IEEE 1364-2005 table 5-22)."""
    if node.op in ("concat", "$signed") or node.op in REDUCTIONS:
        return None
    if (node.op == "?" and index == 0) or (node.op in SHIFTS and index == 1):
        return None
    if node.op in COMPARISONS:
        return _Context(max(arg.width for arg in node.args), all(arg.signed for arg in node.args))
    if node.op in RIGHTWARD or (context and context.closed):
        return _Context(node.width, False, closed=True)
    return context or _Context(node.width, node.signed)
