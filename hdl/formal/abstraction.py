"""Proof with products forgotten: what two factors multiply to is unknown but for what lemmas say.

Every product of two variable factors becomes an unknown function of its factors, one function a width. If a
claim follows for every such function that obeys the lemmas, at the terms where they are used, it holds for
multiplication, which obeys them everywhere. The converse is not true: a claim that does not follow may hold.
"""

from collections.abc import Sequence

import z3

from skipopu.hdl.formal.terms import Term, products

TIME_LIMIT = 120_000  # ms; each takes seconds


def follows(claim: Term, given: Sequence[Term], facts: Sequence[Term]) -> bool:
    """Return whether ``given`` implies ``claim``, of products knowing nothing but the proved ``facts``."""
    return bool(_solver([*given, *facts, z3.Not(claim)]).check() == z3.unsat)


def suspect(claim: Term, given: Sequence[Term], facts: Sequence[Term], constant: Term) -> int | None:
    """Return a value of ``constant`` for which the claim does not follow; None where Z3 has none.

    A counterexample, if there is one at all, may need another value.
    """
    solver = _solver([*given, *facts, z3.Not(claim)])
    if solver.check() != z3.sat:
        return None
    value: int = solver.model().eval(constant, model_completion=True).as_long()
    return value


def consistent(given: Sequence[Term], facts: Sequence[Term]) -> bool:
    """Return whether assumptions and facts contradict nothing: else anything would follow from them."""
    return bool(_solver([*given, *facts]).check() == z3.sat)


def _solver(formulas: Sequence[Term]) -> z3.Solver:
    solver = z3.SolverFor("QF_UFBV")
    solver.set("timeout", TIME_LIMIT)
    solver.add(*_abstracted(formulas))
    return solver


def _abstracted(formulas: Sequence[Term]) -> list[Term]:
    together = z3.And(*formulas)
    unknown: list[tuple[Term, Term]] = []
    for product in products(together):
        factors = [z3.substitute(factor, *unknown) for factor in product.children()]
        unknown.append((product, _function(product.sort())(*factors)))
    return list(z3.substitute(together, *unknown).children())


def _function(sort: z3.BitVecSortRef) -> z3.FuncDeclRef:
    return z3.Function(f"product{sort.size()}", sort, sort, sort)
