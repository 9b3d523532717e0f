"""Search for a counterexample with the products as they are, one activation after another.

A product with a constant is shift-and-add, which Z3 decides in a fraction of a second. Going through all
activations is a proof of its own: no lemma and no unknown function in it.
"""

from collections.abc import Iterable, Mapping, Sequence

import z3

from skipopu.hdl.formal.terms import Term, constants

TIME_LIMIT = 120_000  # ms for one value


class UndecidedError(RuntimeError):
    """Z3 gave up on one value of the split variable within the time limit."""


def counterexample(claim: Term, given: Sequence[Term], split: Term, values: Iterable[int]) -> Mapping[str, int] | None:
    """Return name → value of constants where ``given`` holds and ``claim`` does not; None if nowhere.

    ``split`` is a constant of the claim, of which only ``values`` are looked at. What the result does not
    name may be anything.
    """
    formula = z3.And(*given, z3.Not(claim))
    for value in values:
        fixed = z3.BitVecVal(value, split.size())
        solver = z3.Then("simplify", "propagate-values", "solve-eqs", "bit-blast", "sat").solver()
        solver.set("timeout", TIME_LIMIT)
        solver.add(z3.simplify(z3.substitute(formula, (split, fixed))))
        answer = solver.check()
        if answer == z3.unknown:
            why = solver.reason_unknown()
            raise UndecidedError(f"{split} = {value}: {why}; raise TIME_LIMIT, {TIME_LIMIT} ms")
        if answer == z3.sat:
            return _values(solver.model()) | {str(split): value}
    return None


def holds(claim: Term, values: Mapping[str, int]) -> bool:
    """Return whether ``claim`` is true at ``values``; constants without a value are 0."""
    free = constants(claim).items()
    fixed = [(term, z3.BitVecVal(values.get(name, 0), term.size())) for name, term in free]
    return bool(z3.is_true(z3.simplify(z3.substitute(claim, *fixed))))


def _values(model: z3.ModelRef) -> dict[str, int]:
    return {each.name(): model[each].as_long() for each in model.decls()}
