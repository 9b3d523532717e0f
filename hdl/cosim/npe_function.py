"""A function unit of the NPE, what it is given in a co-simulation, and what its numerics make of that."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from amaranth.hdl import Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.npe.unit import Unit

Case = tuple[int, ...]  # a word a port, in the order of the signature


class Function(NamedTuple):
    """A unit beside its numerics."""

    name: str
    unit: Callable[[int], Unit]  # of so many stages
    stages: int  # of the unit in the NPE
    cases: Callable[[np.random.Generator], Sequence[Case]]  # words of the inputs
    expected: Callable[..., Case]  # words of the outputs


def function_of(
    name: str, unit: Any, cases: Callable[[np.random.Generator], Sequence[Case]], expected: Callable[..., Case]
) -> Function:
    """Return the function of a `Unit` class without parameters but its stages: in the NPE a step takes a cycle."""
    return Function(name, lambda stages: unit(stages=stages), unit.STEPS, cases, expected)


class Ports(NamedTuple):
    """Names and widths of the ports of one direction, the lowest bits' first."""

    names: tuple[str, ...]
    widths: tuple[int, ...]

    @property
    def bits(self) -> int:
        """Of all ports together."""
        return sum(self.widths)

    def word(self, case: Case) -> int:
        """All ports' words side by side; negative ones in two's complement."""
        word, at = 0, 0
        for value, width in zip(case, self.widths, strict=True):
            word |= (int(value) & ((1 << width) - 1)) << at
            at += width
        return word

    def case(self, word: int) -> Case:
        """The words of the ports."""
        found = []
        for width in self.widths:
            found.append(word & ((1 << width) - 1))
            word >>= width
        return tuple(found)


def inputs_of(unit: Unit) -> Ports:
    """Return the inputs of ``unit``."""
    return _ports(unit, In)


def outputs_of(unit: Unit) -> Ports:
    """Return the outputs of ``unit``."""
    return _ports(unit, Out)


def _ports(unit: Unit, flow: Any) -> Ports:
    found = [
        ("__".join(map(str, path)), len(Value.cast(value)))
        for path, member, value in unit.signature.flatten(unit) if member.flow == flow
    ]  # fmt: skip
    return Ports(tuple(name for name, _ in found), tuple(width for _, width in found))
