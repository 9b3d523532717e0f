"""Proof with products forgotten: what two factors multiply to is unknown but for what lemmas say.

Every product of two variable factors becomes an unknown function of its factors, one function a width. If a claim
follows for every such function that obeys the lemma instances, it holds for multiplication, which obeys them too. The
converse is not true: a claim that does not follow may still hold.
"""

from collections.abc import Iterator, Sequence

import z3

from skipopu.hdl.formal.cells import Term

TIME_LIMIT = 120_000  # ms; each takes seconds


def follows(claim: Term, given: Sequence[Term], facts: Sequence[Term]) -> bool:
    """Return whether ``given`` implies ``claim``, of products knowing nothing but the proved ``facts``."""
    return bool(_check([*given, *facts, z3.Not(claim)]) == z3.unsat)


def consistent(given: Sequence[Term], facts: Sequence[Term]) -> bool:
    """Return whether assumptions and facts contradict nothing: else anything would follow from them."""
    return bool(_check([*given, *facts]) == z3.sat)


def products(*terms: Term) -> list[Term]:
    """Return the products of two variable factors in ``terms``, each once."""
    found = {term.get_id(): term for root in terms for term in _inside(root) if _is_product(term)}
    return list(found.values())


def _check(formulas: Sequence[Term]) -> z3.CheckSatResult:
    solver = z3.SolverFor("QF_UFBV")
    solver.set("timeout", TIME_LIMIT)
    solver.add(*_abstracted(formulas))
    return solver.check()


def _abstracted(formulas: Sequence[Term]) -> list[Term]:
    known: dict[int, Term] = {}
    together = z3.And(*formulas)
    for term in _inside(together):  # a term comes after its arguments
        arguments = [known[child.get_id()] for child in term.children()]
        known[term.get_id()] = _forgotten(term, arguments)
    return list(known[together.get_id()].children())


def _forgotten(term: Term, arguments: list[Term]) -> Term:
    if not arguments:
        return term
    if not _is_product(term):
        return term.decl()(*arguments)
    sort = term.sort()
    return z3.Function(f"product{sort.size()}", sort, sort, sort)(*arguments)


def _is_product(term: Term) -> bool:
    factors = term.children()
    return z3.is_app_of(term, z3.Z3_OP_BMUL) and len(factors) == 2 and not any(map(z3.is_bv_value, factors))


def _inside(root: Term) -> Iterator[Term]:
    """Yield every subterm once, arguments first."""
    seen: set[int] = set()
    stack = [(root, False)]
    while stack:
        term, open_ = stack.pop()
        if open_:
            yield term
        elif term.get_id() not in seen:
            seen.add(term.get_id())
            stack.append((term, True))
            stack.extend((child, False) for child in term.children())
