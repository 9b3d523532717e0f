"""Lemmas about products of bit-vectors: proved once, for free variables, then used at terms of a design.

Z3 does not decide in any useful time whether circuits with large multipliers agree, but it settles each of
these in milliseconds: ``linear`` because both sides have one normal form as polynomials, the others because
few bits take part. Products are modulo 2^width throughout.
"""

from dataclasses import dataclass
from functools import cache

import z3

from skipopu.hdl.formal.terms import Term

TIME_LIMIT = 60_000  # ms; each takes milliseconds


@dataclass(frozen=True, eq=False)  # terms have an == of their own
class Lemma:
    """``statement`` holds for all values of ``variables``."""

    name: str
    variables: tuple[Term, ...]
    statement: Term

    def proved(self) -> bool:
        """Return whether Z3 finds that no values contradict the statement."""
        solver = z3.Solver()
        solver.set("timeout", TIME_LIMIT)
        solver.add(z3.Not(self.statement))
        return bool(solver.check() == z3.unsat)

    def at(self, *terms: Term) -> Term:
        """Return the statement with ``terms`` in the places of the variables."""
        return z3.substitute(self.statement, *zip(self.variables, terms, strict=True))


def _free(names: str, width: int) -> tuple[Term, ...]:
    return tuple(z3.BitVecs(names, width))


@cache
def linear(width: int, factor: int) -> Lemma:
    """(x + factor·y)·w = x·w + factor·(y·w)."""
    x, y, w = _free("x y w", width)
    return Lemma(f"linear {factor}", (x, y, w), (x + factor * y) * w == x * w + factor * (y * w))


@cache
def single_bit(width: int) -> Lemma:
    """x·w = (x ? w : 0) for x < 2."""
    x, w = _free("x w", width)
    return Lemma("single bit", (x, w), z3.Implies(z3.ULT(x, 2), x * w == z3.If(x == 1, w, 0)))


@cache
def low_bits(width: int, low: int) -> Lemma:
    """The last ``low`` bits of x·w come from the last ``low`` bits of x and w."""
    x, w = _free("x w", width)
    short = [z3.Extract(low - 1, 0, value) for value in (x, w, x * w)]
    return Lemma(f"low {low} of {width} bits", (x, w), short[2] == short[0] * short[1])


@cache
def unsigned_bound(width: int, x_bits: int, w_bits: int) -> Lemma:
    """x·w < 2^(x_bits + w_bits) for x < 2^x_bits, w < 2^w_bits."""
    x, w = _free("x w", width)
    given = z3.And(z3.ULT(x, 1 << x_bits), z3.ULT(w, 1 << w_bits))
    return Lemma("unsigned bound", (x, w), z3.Implies(given, z3.ULT(x * w, 1 << (x_bits + w_bits))))


@cache
def signed_bound(width: int, x_bits: int, w_bits: int) -> Lemma:
    """|x·w| < 2^(x_bits + w_bits − 1) for signed x of x_bits, w < 2^w_bits."""
    x, w = _free("x w", width)
    half, limit = 1 << (x_bits - 1), 1 << (x_bits + w_bits - 1)
    given = z3.And(x >= -half, x < half, z3.ULT(w, 1 << w_bits))
    return Lemma("signed bound", (x, w), z3.Implies(given, z3.And(x * w > -limit, x * w < limit)))
