"""What is claimed of the PE: its RTL over ``multiply_stages`` cycles beside plain products.

The claim knows ports and arithmetic, nothing of the packing: widths come from the ports.
"""

from collections.abc import Callable
from dataclasses import dataclass

import z3

from skipopu.hdl.formal import smt2
from skipopu.hdl.formal.netlist import netlist
from skipopu.hdl.formal.terms import Term, constants
from skipopu.hdl.formal.unroll import Unrolled
from skipopu.hdl.pe import Pe
from skipopu.spec.number_format import INT4_BITS

INPUTS = ("int4", "activation", "weight0", "weight1")


@dataclass(frozen=True)
class Claim:
    """``product<column>`` in one mode is ``expected``, wherever all of ``given`` holds."""

    mode: str
    column: int
    given: tuple[Term, ...]
    output: Term
    expected: Term

    @property
    def name(self) -> str:
        """Mode and output."""
        return f"{self.mode} product{self.column}"

    @property
    def statement(self) -> Term:
        """What is to be proved under ``given``."""
        return self.output == self.expected


@dataclass(frozen=True)
class UnrolledPe:
    """Inputs of a PE in one cycle, outputs ``stages`` cycles later; other inputs and the state are free."""

    product_bits: int
    stages: int
    int4: Term
    activation: Term
    weights: tuple[Term, Term]
    products: tuple[Term, Term]
    relation: tuple[Term, ...] = ()  # between them, where the products are not terms over the inputs

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Both modes, both products."""
        return tuple(self._claim(mode, column) for mode in EXPECTED for column in (0, 1))

    def _claim(self, mode: str, column: int) -> Claim:
        expected = EXPECTED[mode](self.weights[column], self.activation, self.product_bits)
        given = (*self.relation, self.int4 == (1 if mode == "int4" else 0))
        return Claim(mode, column, given, self.products[column], expected)


def pe_of_rtlil(product_bits: int, stages: int, start: int = 0) -> UnrolledPe:
    """Return the PE as it stands in RTLIL, its products as terms over inputs and registers.

    Inputs are those of cycle ``start``. A proof has 0: any state. A counterexample in a later cycle names the
    inputs that led to the state.
    """
    rtl = Unrolled(netlist(Pe(product_bits=product_bits, multiply_stages=stages)))
    inputs = (rtl.input(port, start) for port in INPUTS)
    int4, activation, weight0, weight1 = inputs
    products = rtl.output("product0", start + stages), rtl.output("product1", start + stages)
    return UnrolledPe(product_bits, stages, int4, activation, (weight0, weight1), products)


def pe_of_verilog(product_bits: int, stages: int) -> UnrolledPe:
    """Return the PE as it stands in the emitted Verilog, with the relation between inputs and products."""
    relation = smt2.relation(Pe(product_bits=product_bits, multiply_stages=stages), stages)
    ports = constants(*relation)
    int4, activation, *weights = (ports[f"{port}@0"] for port in INPUTS)
    product0, product1 = (ports[f"{port}@{stages}"] for port in ("product0", "product1"))
    products = product0, product1
    return UnrolledPe(product_bits, stages, int4, activation, (weights[0], weights[1]), products, relation)


def _fp16(weight: Term, activation: Term, product_bits: int) -> Term:
    """Top bits of the product of two unsigned significands."""
    width = weight.size() + activation.size()
    product = z3.ZeroExt(activation.size(), weight) * z3.ZeroExt(weight.size(), activation)
    return z3.Extract(width - 1, width - product_bits, product)


def _int4(weight: Term, activation: Term, product_bits: int) -> Term:
    """Magnitude of an INT4 weight times the significand, at the top."""
    magnitude_bits = INT4_BITS + activation.size() - 1  # the sign is not among them
    signed = z3.SignExt(activation.size(), z3.Extract(INT4_BITS - 1, 0, weight))
    product = signed * z3.ZeroExt(INT4_BITS, activation)
    magnitude = z3.Extract(magnitude_bits - 1, 0, z3.If(product < 0, -product, product))
    return z3.Concat(magnitude, z3.BitVecVal(0, product_bits - magnitude_bits))


EXPECTED: dict[str, Callable[[Term, Term, int], Term]] = {"fp16": _fp16, "int4": _int4}
