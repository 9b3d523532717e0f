"""Walking through Z3 terms: every subterm once, its constants, its products."""

from collections.abc import Iterator
from typing import Any

import z3

Term = Any  # z3.BitVecRef or z3.BoolRef: Z3 has no types


def inside(*roots: Term) -> Iterator[Term]:
    """Yield every subterm once, arguments before what they are arguments of."""
    seen: set[int] = set()
    stack = [(root, False) for root in roots]
    while stack:
        term, done = stack.pop()
        if done:
            yield term
        elif term.get_id() not in seen:
            seen.add(term.get_id())
            stack.append((term, True))
            stack.extend((child, False) for child in term.children())


def constants(*roots: Term) -> dict[str, Term]:
    """Return the free bit-vectors by name."""
    leaves = (term for term in inside(*roots) if z3.is_const(term) and z3.is_bv(term))
    return {str(term): term for term in leaves if not z3.is_bv_value(term)}


def is_product(term: Term) -> bool:
    """Two variable factors; a multiple by a number is none."""
    if not z3.is_app_of(term, z3.Z3_OP_BMUL):
        return False
    factors = term.children()
    return len(factors) == 2 and not any(map(z3.is_bv_value, factors))


def products(*roots: Term) -> list[Term]:
    """Return the products in ``roots``, each once, factors that are products before their product."""
    return [term for term in inside(*roots) if is_product(term)]
