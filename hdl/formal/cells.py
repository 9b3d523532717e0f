"""What each cell of Yosys' internal library computes, as a bit-vector term (``simlib.v`` of Yosys).

Only cells that the RTL of this overlay comes down to; any other is an error, never a guess.
"""

import operator
from collections.abc import Callable, Mapping

import z3

from skipopu.hdl.formal.netlist import Cell
from skipopu.hdl.formal.terms import Term
from skipopu.spec.error import SpecError

Pins = Mapping[str, Term]

Binary = Callable[[Term, Term], Term]

UNARY: dict[str, Callable[[Term], Term]] = {"$not": operator.invert, "$neg": operator.neg}
ARITHMETIC: dict[str, Binary] = {
    "$add": operator.add, "$sub": operator.sub, "$mul": operator.mul,
    "$and": operator.and_, "$or": operator.or_, "$xor": operator.xor,
}  # fmt: skip
COMPARISON: dict[str, tuple[Binary, Binary]] = {  # unsigned, signed
    "$eq": (operator.eq, operator.eq), "$ne": (operator.ne, operator.ne),
    "$lt": (z3.ULT, operator.lt), "$le": (z3.ULE, operator.le),
    "$gt": (z3.UGT, operator.gt), "$ge": (z3.UGE, operator.ge),
}  # fmt: skip
SHIFT: dict[str, Binary] = {"$shl": operator.lshift, "$shr": z3.LShR, "$sshr": operator.rshift}


def output(cell: Cell, pins: Pins) -> Term:
    """Return Y of a cell without memory; SpecError where its type is not known here."""
    if cell.type in ("$mux", "$pmux"):
        return _selected(pins["A"], pins["B"], pins["S"])
    width = len(cell.output)
    a = pins["A"]
    if cell.type in UNARY:
        return UNARY[cell.type](_resized(a, width, _signed(cell)))
    if cell.type in ARITHMETIC:
        signed = _signed(cell, "AB")
        return ARITHMETIC[cell.type](_resized(a, width, signed), _resized(pins["B"], width, signed))
    if cell.type in COMPARISON:
        return _compared(cell, a, pins["B"])
    if cell.type in SHIFT:
        return _shifted(cell, a, pins["B"])
    known = ", ".join(["$mux", "$pmux", *UNARY, *ARITHMETIC, *COMPARISON, *SHIFT])
    raise SpecError(f"cell {cell.name}: {cell.type} is not translated; known are {known}; add it to cells.py")


def _signed(cell: Cell, operands: str = "A") -> bool:
    """Operands are sign-extended where all of them are signed."""
    return all(cell.parameters[f"{operand}_SIGNED"] for operand in operands)


def _resized(term: Term, width: int, signed: bool) -> Term:
    if width <= term.size():
        return z3.Extract(width - 1, 0, term)
    return (z3.SignExt if signed else z3.ZeroExt)(width - term.size(), term)


def _selected(default: Term, choices: Term, select: Term) -> Term:
    """Each bit of ``select`` has a choice; two at once are undefined, which is any value."""
    width, value = default.size(), default
    for index in range(select.size()):
        choice = z3.Extract((index + 1) * width - 1, index * width, choices)
        value = _either(z3.Extract(index, index, select) == 1, choice, value)
    if select.size() == 1:
        return value
    return _either(select & (select - 1) == 0, value, z3.FreshConst(value.sort(), "undefined"))


def _either(condition: Term, yes: Term, no: Term) -> Term:
    """Where the condition is constant, as OPMODE is, only one choice is left; nothing else is rewritten."""
    known = z3.simplify(condition)
    return yes if z3.is_true(known) else no if z3.is_false(known) else z3.If(condition, yes, no)


def _compared(cell: Cell, a: Term, b: Term) -> Term:
    signed, width = _signed(cell, "AB"), max(a.size(), b.size())
    truth = COMPARISON[cell.type][signed](_resized(a, width, signed), _resized(b, width, signed))
    return _resized(z3.If(truth, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)), len(cell.output), False)


def _shifted(cell: Cell, a: Term, b: Term) -> Term:
    """The amount is unsigned; $sshr of an unsigned value is $shr."""
    signed = _signed(cell)
    width = max(a.size(), len(cell.output))
    shift = z3.LShR if cell.type == "$sshr" and not signed else SHIFT[cell.type]
    amount = _resized(b, width, False)
    if b.size() > width:
        amount = z3.If(z3.ULT(b, width), amount, z3.BitVecVal(width, width))
    return _resized(shift(_resized(a, width, signed), amount), len(cell.output), False)
