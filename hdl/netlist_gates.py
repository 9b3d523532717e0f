"""Yosys' word-level cells of one module, bit by bit: what a LUT may hold, what a carry chain, what neither.

Products are not logic: every one is slices, counted in the Verilog.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from skipopu.spec.resource_terms import compare, select
from skipopu.spec.resources_of_logic import LUT_INPUTS, shift_left, shift_right

Bit = int | str  # a net, or a constant: "0", "1", "x"
BITWISE = ("$and", "$or", "$xor", "$xnor")
EQUAL = ("$eq", "$ne", "$eqx", "$nex")
REDUCING = ("$reduce_and", "$reduce_or", "$reduce_xor", "$reduce_xnor", "$reduce_bool", "$logic_not")
LOGICAL = ("$logic_and", "$logic_or")
ORDERING = ("$lt", "$le", "$gt", "$ge")
LEFT = ("$shl", "$sshl")
SHIFTS = (*LEFT, "$shr", "$sshr", "$shift", "$shiftx")
FLIP_FLOPS = ("$dff", "$dffe", "$sdff", "$sdffe", "$sdffce")


@dataclass(frozen=True)
class Gate:
    """One bit as a function of others.

    ``associative``: of any number of operands, taken in any order. ``carry``: a bit of an adder, a LUT of its own.
    """

    operands: tuple[int, ...]
    associative: bool = False
    carry: bool = False


@dataclass
class Gates:
    """Logic of a module. ``read``: bits that something else than a gate reads, once for every place.

    ``delays``: register bit → bit it takes at
    every edge of its clock, and that clock. ``luts``: of cells priced as a whole.
    """

    gates: dict[int, Gate] = field(default_factory=dict)
    read: list[int] = field(default_factory=list)
    delays: dict[int, tuple[int, int]] = field(default_factory=dict)
    luts: int = 0


def gates(module: Mapping[str, Any]) -> Gates:
    """Return the logic of ``module``, as yosys writes it in JSON."""
    found = Gates()
    fresh = count(-1, -1)  # of nets within a cell
    for cell in module["cells"].values():
        _Cell(cell, found, fresh).add()
    for port in module["ports"].values():
        if port["direction"] != "input":
            found.read.extend(_nets(port["bits"]))
    return found


class _Cell:
    """One word-level cell."""

    def __init__(self, cell: Mapping[str, Any], found: Gates, fresh: Iterator[int]) -> None:
        self._kind: str = cell["type"]
        self._bits: Mapping[str, list[Bit]] = cell["connections"]
        self._parameters: Mapping[str, str] = cell["parameters"]
        self._outputs = [name for name, way in cell.get("port_directions", {}).items() if way == "output"]
        self._found, self._fresh = found, fresh

    def add(self) -> None:
        """Put it among the gates, or its price among the LUTs."""
        makers = (
            (BITWISE, self._bitwise), (("$mux",), self._mux), (("$pmux",), self._pmux), (EQUAL, self._equal),
            (REDUCING, self._reducing), (LOGICAL, self._logical), (("$not", "$pos"), self._wires),
            (("$add", "$sub", "$neg"), self._adder), (ORDERING, self._ordering), (SHIFTS, self._shift),
            (("$bmux",), self._table), (FLIP_FLOPS, self._register),
        )  # fmt: skip
        next((make for kinds, make in makers if self._kind in kinds), self._opaque)()

    def _gate(self, output: Bit, operands: Sequence[Bit], *, associative: bool = False, carry: bool = False) -> None:
        if isinstance(output, int):
            self._found.gates[output] = Gate(tuple(dict.fromkeys(_nets(operands))), associative, carry)

    def _within(self, operands: Sequence[Bit], *, associative: bool = False) -> int:
        """A net within the cell."""
        net = next(self._fresh)
        self._gate(net, operands, associative=associative)
        return net

    def _operand(self, name: str, width: int | None = None) -> list[Bit]:
        """An operand, extended as its sign says."""
        bits = self._bits.get(name, [])
        wide = len(self._bits["Y"]) if width is None else width
        signed = self._number(f"{name}_SIGNED") and bits
        return [*bits[:wide], *[bits[-1] if signed else "0"] * (wide - len(bits))]

    def _number(self, name: str) -> int:
        return int(self._parameters.get(name, "0"), 2)

    def _bitwise(self) -> None:
        for output, *operands in zip(self._bits["Y"], self._operand("A"), self._operand("B"), strict=True):
            self._gate(output, operands, associative=True)

    def _wires(self) -> None:
        """An inverter is part of the function that reads it."""
        for output, operand in zip(self._bits["Y"], self._operand("A"), strict=True):
            self._gate(output, [operand])

    def _mux(self) -> None:
        """A choice; where one of two values does not matter, the other."""
        for output, *values in zip(self._bits["Y"], self._bits["A"], self._bits["B"], strict=True):
            matter = [value for value in values if value != "x"]
            self._gate(output, [*matter, *self._bits["S"]] if len(matter) == len(values) else matter)

    def _pmux(self) -> None:
        """One-hot: every value beside its bit, the value of no bit beside what says so."""
        none, width = self._within(self._bits["S"], associative=True), len(self._bits["Y"])
        for i, output in enumerate(self._bits["Y"]):
            values = [self._bits["B"][i + k * width] for k in range(len(self._bits["S"]))]
            chosen = [self._within(pair) for pair in zip(values, self._bits["S"], strict=True) if pair[0] != "0"]
            default = [] if self._bits["A"][i] in ("0", "x") else [self._within([self._bits["A"][i], none])]
            self._gate(output, [*chosen, *default], associative=True)

    def _equal(self) -> None:
        wide = max(len(self._bits["A"]), len(self._bits["B"]))
        pairs = zip(self._operand("A", wide), self._operand("B", wide), strict=True)
        self._gate(self._bits["Y"][0], [self._within(pair) for pair in pairs], associative=True)

    def _reducing(self) -> None:
        self._gate(self._bits["Y"][0], self._bits["A"], associative=True)

    def _logical(self) -> None:
        sides = [self._within(self._bits[name], associative=True) for name in ("A", "B")]
        self._gate(self._bits["Y"][0], sides, associative=True)

    def _adder(self) -> None:
        """A LUT a bit from the lowest one that both operands reach; below it an adder is wires."""
        pairs = list(zip(self._operand("A"), self._operand("B"), strict=True))
        low = 0 if self._kind == "$neg" else next((i for i, pair in enumerate(pairs) if "0" not in pair), len(pairs))
        for i, (output, pair) in enumerate(zip(self._bits["Y"], pairs, strict=True)):
            self._gate(output, pair, carry=i >= low)

    def _ordering(self) -> None:
        """Few bits are a function of a LUT; more are a carry chain, whose end needs none."""
        operands = [*self._bits["A"], *self._bits["B"]]
        if len(set(_nets(operands))) <= LUT_INPUTS:
            self._gate(self._bits["Y"][0], operands)
        else:
            self._price(compare(max(len(self._bits["A"]), len(self._bits["B"]))))

    def _shift(self) -> None:
        """Levels of a barrel shifter, or a choice of all places for every bit, whichever is less."""
        wide, out, distance = (len(self._bits[name]) for name in ("A", "Y", "B"))
        barrel = shift_left(wide, out, distance) if self._kind in LEFT else shift_right(wide, out, distance)
        self._price(min(barrel, select(out, min(2**distance, wide + 1))))

    def _table(self) -> None:
        """A choice by an index: of constants one LUT a bit for as many places as its inputs tell apart."""
        width, places = len(self._bits["Y"]), 2 ** len(self._bits["S"])
        constant = not list(_nets(self._bits["A"]))
        self._price(select(width, max(places // 2**LUT_INPUTS, 2) if constant else places))

    def _price(self, luts: int) -> None:
        self._found.luts += luts
        self._opaque()

    def _register(self) -> None:
        self._opaque()
        if self._kind == "$dff":
            clock = next(_nets(self._bits["CLK"]))
            self._found.delays.update(
                {q: (d, clock) for q, d in zip(self._bits["Q"], self._bits["D"], strict=True)
                 if isinstance(q, int) and isinstance(d, int)}
            )  # fmt: skip

    def _opaque(self) -> None:
        for name, bits in self._bits.items():
            if name not in self._outputs:
                self._found.read.extend(_nets(bits))


def _nets(bits: Iterable[Bit]) -> Iterator[int]:
    return (bit for bit in bits if isinstance(bit, int))
