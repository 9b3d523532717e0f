"""LUTs of one module from its logic: functions that are read once go into their readers, what is too wide is cut.

The way of Chortle-crf (Francis, Rose, Vranesic: DAC 1991): trees of gates, operands of one packed into bins, first
fit. No logic is restructured and none is doubled, so a tool may need less; it knows no timing, so one may need more.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from skipopu.hdl.netlist_gates import Gate, Gates
from skipopu.spec.resource_terms import SRL_CYCLES, SRL_LENGTH
from skipopu.spec.resources_of_logic import LUT_INPUTS, SHARED_INPUTS

Cone = frozenset[int]  # inputs of a function that may still go into its reader
NEW = 1 << 40  # nets that cutting makes begin here


@dataclass(frozen=True)
class Luts:
    """Of one module: logic; shift registers, and the flip-flops that they take the place of."""

    logic: int
    shift_registers: int = 0
    shifted: int = 0


def luts(logic: Gates) -> Luts:
    """Count the LUTs of a module's ``logic``."""
    registers, shifted = _shift_registers(logic)
    return Luts(logic.luts + _Cover(logic).count(), registers, shifted)


class _Cover:
    """Which functions are LUTs of their own."""

    def __init__(self, logic: Gates) -> None:
        self._gates, self._outside = logic.gates, set(logic.read)
        self._readers = Counter(net for gate in logic.gates.values() for net in gate.operands)
        self._cones: dict[int, Cone] = {}
        self._made, self._fresh = 0, count(NEW)

    def count(self) -> int:
        """Visit every gate after its operands."""
        for net in self._gates:
            stack = [net]
            while stack:
                waiting = [o for o in self._gates[stack[-1]].operands if o in self._gates and o not in self._cones]
                if waiting and len(stack) <= len(self._gates):  # longer than all gates: a loop, cut anywhere
                    stack.extend(waiting)
                    continue
                top = stack.pop()
                if top not in self._cones:
                    self._cones[top] = self._visit(top, self._gates[top])
        return self._made

    def _visit(self, net: int, gate: Gate) -> Cone:
        """Return what the reader sees: the function's inputs, or the function as one input."""
        if gate.carry:
            self._packed(gate, SHARED_INPUTS)
            self._made += 1
            return frozenset((net,))
        cone = self._packed(gate, LUT_INPUTS)
        if len(gate.operands) <= 1 and len(cone) <= 1:
            return cone  # a wire, or an inverter
        if self._readers[net] == 1 and net not in self._outside:
            return cone
        self._made += 1
        return frozenset((net,))

    def _packed(self, gate: Gate, inputs: int) -> Cone:
        """Inputs of the gate's function, no more than ``inputs``; what does not fit becomes LUTs before it."""
        cones = [self._cones.get(operand, frozenset((operand,))) for operand in gate.operands]
        while len(together := frozenset[int]().union(*cones)) > inputs:
            cones = self._bins(cones, inputs) if gate.associative else self._without_largest(cones)
        return together

    def _bins(self, cones: list[Cone], inputs: int) -> list[Cone]:
        """Pack the operands, first fit; make LUTs of the bins that are full, or else of the fullest."""
        bins: list[tuple[Cone, list[Cone]]] = []
        for cone in sorted(cones, key=len, reverse=True):
            place = next((i for i, (held, _) in enumerate(bins) if len(held | cone) <= inputs), None)
            if place is None:
                bins.append((cone, [cone]))
            else:
                held, packed = bins[place]
                bins[place] = (held | cone, [*packed, cone])
        first = max(range(len(bins)), key=lambda i: len(bins[i][0]))
        made = {i for i, (held, _) in enumerate(bins) if len(held) == inputs} | {first}
        return [each for i, (held, packed) in enumerate(bins) for each in ([self._cut(held)] if i in made else packed)]

    def _without_largest(self, cones: list[Cone]) -> list[Cone]:
        largest = max(cones, key=len)
        return [self._cut(cone) if cone is largest else cone for cone in cones]

    def _cut(self, cone: Iterable[int]) -> Cone:
        """A LUT of its own, unless it is a wire."""
        kept = frozenset(cone)
        if len(kept) <= 1:
            return kept
        self._made += 1
        return frozenset((next(self._fresh),))


def _shift_registers(logic: Gates) -> tuple[int, int]:
    """LUTs of delay lines, and the flip-flops of them."""
    sources = Counter(net for net in logic.read)
    sources.update(net for gate in logic.gates.values() for net in gate.operands)
    after = {taken: net for net, (taken, clock) in logic.delays.items()
             if taken in logic.delays and sources[taken] == 1 and logic.delays[taken][1] == clock}  # fmt: skip
    inside = set(after.values())
    lengths = [_length(after, net) for net in logic.delays if net not in inside]
    lines = [length for length in lengths if length >= SRL_CYCLES]
    return sum(-(-length // SRL_LENGTH) for length in lines), sum(lines)


def _length(after: dict[int, int], net: int) -> int:
    length = 1
    while net in after:
        net, length = after[net], length + 1
    return length
