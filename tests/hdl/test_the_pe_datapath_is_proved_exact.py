"""Both products of the PE's RTL are the plain products for all inputs; proved, and the proof can fail.

Proved: the claims in the docstring of `skipopu.hdl.formal.pe`. Ordinary run: product_bits 22 with multiply_stages
1 … 5 and product_bits 15 with 4, as shipped, in RTLIL. Slow: every multiply_stages and product_bits that a
specification can ask for, the emitted Verilog in Yosys' own translation, and a proof without lemmas.
"""

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import z3
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.hdl import pe as pe_module
from skipopu.hdl import verilog
from skipopu.hdl.dsp48e2 import NEGATE_A, PREADDER_BITS, Dsp48e2
from skipopu.hdl.formal import lemmas
from skipopu.hdl.formal.abstraction import consistent, follows
from skipopu.hdl.formal.lemmas import Lemma
from skipopu.hdl.formal.netlist import netlist, parsed
from skipopu.hdl.formal.pe import TELLING, main, proved, refuted, split
from skipopu.hdl.formal.pe_claim import INPUTS, Claim, UnrolledPe, pe_of_rtlil, pe_of_verilog
from skipopu.hdl.formal.pe_facts import facts
from skipopu.hdl.formal.search import holds
from skipopu.hdl.formal.terms import constants
from skipopu.hdl.formal.unroll import Unrolled
from skipopu.hdl.pe import LANE, Pe
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block
from skipopu.spec.error import SpecError

SHIPPED = (22, 4)
EVERY_WIDTH, EVERY_LATENCY = range(15, 23), range(1, 17)
SIGNIFICAND = st.integers(0, 2047)
Method = Callable[..., Any]


@pytest.fixture(autouse=True)
def _no_conversion_is_kept() -> Iterator[None]:
    """Blocks are converted once a process: not across a fault."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    verilog._converted.cache_clear()
    verilog._written.clear()


# what is proved


def assert_proved(pe: UnrolledPe) -> None:
    assert [claim.name for claim in pe.claims if not proved(pe, claim)] == []
    assert len(pe.claims) == 4


@pytest.mark.parametrize(("bits", "stages"), [SHIPPED, (15, 4), (22, 1), (22, 2), (22, 3), (22, 5)])
def test_products_are_exact(bits: int, stages: int) -> None:
    assert_proved(pe_of_rtlil(bits, stages))


@pytest.mark.slow
@pytest.mark.parametrize("stages", EVERY_LATENCY)
def test_products_are_exact_for_every_latency(stages: int) -> None:
    for bits in (15, 22):
        assert_proved(pe_of_rtlil(bits, stages))


@pytest.mark.slow
@pytest.mark.parametrize("bits", EVERY_WIDTH)
def test_products_are_exact_for_every_width(bits: int) -> None:
    assert_proved(pe_of_rtlil(bits, 4))


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "stages"), [SHIPPED, (15, 4), (22, 1), (22, 2), (22, 3), (22, 5), (22, 7)])
def test_products_are_exact_in_the_emitted_verilog(bits: int, stages: int) -> None:
    assert_proved(pe_of_verilog(bits, stages))


@pytest.mark.parametrize("mode", ["fp16", "int4"])
def test_no_counterexample_without_lemmas(mode: str) -> None:
    assert_no_counterexample(mode, TELLING)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["fp16", "int4"])
def test_no_counterexample_without_lemmas_for_a_twentieth_of_the_activations(mode: str) -> None:
    assert_no_counterexample(mode, range(0, 2048, 19))


def assert_no_counterexample(mode: str, activations: Sequence[int]) -> None:
    pe = pe_of_rtlil(*SHIPPED)
    assert [split(pe, claim, activations) for claim in pe.claims if claim.mode == mode] == [None, None]


def test_the_command_prints_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skipopu.hdl.formal.pe.OTHERS", ())
        patch.setattr("skipopu.hdl.formal.pe.SHIPPED", (SHIPPED,))
        assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("product_bits 22, multiply_stages 4: " in line and "RTLIL: proved (" in line for line in lines)


# what the claim says, in plain integers


def plain(int4: int, activation: int, weight: int, bits: int) -> int:
    """The product port for one weight, from its datasheet."""
    if int4:
        value = weight % 16 - 16 * (weight % 16 >= 8)
        return abs(value * activation) << (bits - 14)
    return weight * activation >> (22 - bits)


@cache
def shipped_pe(bits: int) -> UnrolledPe:
    return pe_of_rtlil(bits, 4)


@given(SIGNIFICAND, SIGNIFICAND, SIGNIFICAND, st.sampled_from([15, 22]))
def test_the_claim_is_about_plain_products(activation: int, weight0: int, weight1: int, bits: int) -> None:
    values = {"activation@0": activation, "weight0@0": weight0, "weight1@0": weight1}
    for claim in shipped_pe(bits).claims:
        int4, weight = claim.mode == "int4", (weight0, weight1)[claim.column]
        assert holds(claim.expected == plain(int4, activation, weight, bits), values)
        assert [holds(each, values | {"int4@0": int(int4)}) for each in claim.given] == [True]


def test_nothing_else_is_assumed() -> None:
    """The only assumption is the mode, and each of all the other inputs and registers is free."""
    pe = pe_of_rtlil(*SHIPPED)
    for claim in pe.claims:
        assert {str(each) for each in claim.given} == {f"int4@0 == {int(claim.mode == 'int4')}"}
    free = set(constants(*pe.products))
    assert {f"{port}@{cycle}" for port in ("activation", "weight1") for cycle in (0, 1)} <= free
    assert any(name.startswith("$") for name in free)  # registers


# the proof is not vacuous


def test_what_the_proof_starts_from_has_a_model() -> None:
    pe = pe_of_rtlil(*SHIPPED)
    for mode in ("fp16", "int4"):
        claim = next(claim for claim in pe.claims if claim.mode == mode)
        statements = [fact.statement for fact in facts(pe, mode)]
        assert consistent(claim.given, statements)
        assert not follows(z3.BoolVal(False), claim.given, statements)
        values = {"int4@0": int(mode == "int4"), "activation@0": 1365, "weight0@0": 2047, "weight1@0": 1999}
        assert all(holds(statement, values) for statement in (*claim.given, *statements))


def test_a_wrong_claim_is_refuted() -> None:
    pe = pe_of_rtlil(*SHIPPED)
    for right in pe.claims:
        wrong = Claim(right.mode, right.column, right.given, right.output, right.expected ^ 1 << 8)
        assert not proved(pe, wrong)
        found = split(pe, wrong, TELLING)
        assert found is not None
        assert all(holds(each, found) for each in wrong.given)
        assert not holds(wrong.statement, found)


@pytest.mark.parametrize("late", [-1, 1])
def test_another_latency_is_refuted(late: int) -> None:
    right = pe_of_rtlil(*SHIPPED, start=1)
    rtl = Unrolled(netlist(Pe(product_bits=22, multiply_stages=4)))
    products = tuple(rtl.output(f"product{column}", 1 + 4 + late) for column in (0, 1))
    wrong = UnrolledPe(22, 4, right.int4, right.activation, right.weights, products)
    assert not any(proved(wrong, claim) for claim in wrong.claims)
    assert all(split(wrong, claim, TELLING) for claim in wrong.claims)


# lemmas


LEMMAS = {
    lemma.name: lemma
    for lemma in (
        *(lemmas.linear(45, factor) for factor in (-(1 << 16), 1 << 16, 2, 1 << 10)), lemmas.single_bit(45),
        *(lemmas.low_bits(45, low) for low in (5, 15, 22)), lemmas.low_bits(10, 5),
        lemmas.unsigned_bound(45, 11, 11), lemmas.signed_bound(45, 4, 11),
    )
}  # fmt: skip


def test_the_lemmas_used_are_the_lemmas_stated() -> None:
    pe = pe_of_rtlil(*SHIPPED)
    assert {fact.lemma.name for mode in ("fp16", "int4") for fact in facts(pe, mode)} == set(LEMMAS)


@pytest.mark.parametrize("lemma", LEMMAS.values(), ids=LEMMAS)
def test_the_lemma_is_proved(lemma: Lemma) -> None:
    assert lemma.proved()


@given(st.sampled_from(sorted(LEMMAS)), st.lists(st.integers(0, (1 << 45) - 1), min_size=3, max_size=3))
def test_the_lemma_holds_at_numbers(name: str, numbers: list[int]) -> None:
    lemma = LEMMAS[name]
    places = zip(lemma.variables, numbers, strict=False)
    assert z3.is_true(z3.simplify(lemma.at(*(z3.BitVecVal(number, term.size()) for term, number in places))))


X, Y, W = z3.BitVecs("x y w", 45)
FALSE = {
    "linear with a carry": (X + 2 * Y) * W == X * W + 2 * (Y * W) + 1,
    "a product is a sum": z3.Implies(z3.ULT(X, 3), z3.If(X == 1, W, 0) == X * W),
    "high bits come from high bits": z3.Extract(9, 5, X * W) == z3.Extract(9, 5, X) * z3.Extract(9, 5, W),
    "a bit too narrow": z3.Implies(z3.And(z3.ULT(X, 2048), z3.ULT(W, 2048)), z3.ULT(X * W, 1 << 21)),
    "a signed bit too narrow": z3.Implies(z3.And(X >= -8, X < 8, z3.ULT(W, 2048)), X * W > -(1 << 13)),
}


@pytest.mark.parametrize("statement", FALSE.values(), ids=FALSE)
def test_a_false_lemma_is_not_proved(statement: Any) -> None:
    assert not Lemma("false", (X, Y, W), statement).proved()


def test_a_product_is_unknown_without_lemmas() -> None:
    assert not follows(X * W == W * X, [], [])
    assert follows(X * W == Y * W, [X == Y], [])
    assert follows(X * 6 == X * 2 + X * 4, [], [])


# the terms are the RTL: Amaranth's simulator computes the same


class Operators(Block):
    """Operators of Amaranth in mixed widths and signs, a switch and a register."""

    def __init__(self) -> None:
        super().__init__({"a": In(5), "b": In(3), "y": Out(400)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        a, b, c, d = self.a, self.b, self.a.as_signed(), self.b.as_signed()
        pairs = [(left, right) for left in (a, c) for right in (b, d)]
        arithmetic = (operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor)
        comparison = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)
        values = [function(*pair) for function in (*arithmetic, *comparison) for pair in pairs]
        values += [
            ~a,
            -a,
            -c,
            a << b,
            c << b,
            a >> b,
            c >> b,
            a << 2,
            c >> 2,
            Mux(b[0], a, c),
            Mux(b[1], c, d),
        ]
        switched = Signal(6)
        with m.Switch(b):
            for code, value in enumerate((a, c, a + c, d, Const(-1, signed(6)))):
                with m.Case(code):
                    m.d.comb += switched.eq(value)
            with m.Default():
                m.d.comb += switched.eq(c - 9)
        m.d.comb += self.y.eq(Cat(*values, switched, delayed(m, switched, 1, "kept")))
        return m


def simulated(block: Block, cycles: Sequence[Mapping[str, int]]) -> list[dict[str, int]]:
    """Outputs of the block in each cycle, from registers that hold 0."""
    found: list[dict[str, int]] = []
    ports = [(path[0], member.flow, port) for path, member, port in block.signature.flatten(block)]

    async def drive(context: Any) -> None:
        for cycle in cycles:
            for name, port in ((name, port) for name, flow, port in ports if flow == In):
                context.set(port, cycle.get(name, 0))
            found.append({name: context.get(port) for name, flow, port in ports if flow == Out})
            await context.tick()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pe_module, "place", _as_submodule)
        simulator = Simulator(block)
        simulator.add_clock(1e-6)
        simulator.add_testbench(drive)
        simulator.run()
    return found


def _as_submodule(m: Module, name: str, block: Block) -> Block:
    m.submodules[name] = block
    return block


def assert_terms_compute(block: Block, cycles: Sequence[Mapping[str, int]]) -> None:
    rtl = terms_of(block)
    values = {f"{name}@{cycle}": number for cycle, each in enumerate(cycles) for name, number in each.items()}
    for cycle, outputs in enumerate(simulated(block, cycles)):
        for name, number in outputs.items():
            assert holds(rtl.output(name, cycle) == number, values), f"{name}, cycle {cycle}"


@cache
def terms_of(block: Block) -> Unrolled:
    return Unrolled(netlist(block))


OPERANDS = st.fixed_dictionaries({"a": st.integers(0, 31), "b": st.integers(0, 7)})
PORTS = st.fixed_dictionaries({"int4": st.integers(0, 1)} | dict.fromkeys(INPUTS[1:], SIGNIFICAND))


@given(st.lists(OPERANDS, min_size=8, max_size=8))
def test_cells_mean_what_amaranth_means(cycles: list[dict[str, int]]) -> None:
    assert_terms_compute(Operators(), cycles)


@pytest.mark.parametrize("stages", [1, 3, 4, 5])
def test_terms_of_the_pe_are_what_it_computes(stages: int) -> None:
    @settings(max_examples=10)
    @given(st.lists(PORTS, min_size=7, max_size=7))
    def check(cycles: list[dict[str, int]]) -> None:
        assert_terms_compute(Pe(product_bits=22, multiply_stages=stages), cycles)

    check()


class Divider(Block):
    """A cell that is not translated."""

    def __init__(self) -> None:
        super().__init__({"a": In(3), "y": Out(3)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.d.comb += self.y.eq(self.a // 3)
        return m


def test_a_cell_that_is_not_translated_is_an_error() -> None:
    with pytest.raises(SpecError, match=r"\$divfloor is not translated; known are .*\$mul"):
        Unrolled(netlist(Divider())).output("y", 0)


def register(name: str, clock: int, polarity: str, q: int) -> dict[str, Any]:
    pins = {"CLK": [clock], "D": [3], "Q": [q]}
    return {name: {"type": "$dff", "parameters": {"CLK_POLARITY": polarity}, "connections": pins}}


@pytest.mark.parametrize(
    ("cells", "direction", "told"),
    [
        (register("r", 2, "0", 4), "input", "valid is one clock"),
        (register("r", 3, "1", 4), "input", "valid is one clock"),
        (register("r", 2, "1", 4) | register("s", 2, "1", 4), "input", "two drivers"),
        ({"l": {"type": "$latch", "parameters": {}, "connections": {"D": [3]}}}, "input", "not translated"),
        ({}, "inout", "inout is not translated"),
    ],
)
def test_what_is_not_plain_synchronous_logic_is_an_error(cells: Any, direction: str, told: str) -> None:
    ports = {"clk": {"direction": "input", "bits": [2]}, "d": {"direction": direction, "bits": [3]}}
    with pytest.raises(SpecError, match=told):
        parsed({"modules": {"top": {"ports": ports, "cells": cells}}}, "top")


# planted faults: no proof, and a counterexample that is one


def no_auxiliary(_: Method) -> Method:
    return lambda self: Const(0, 5)


def no_borrow(_: Method) -> Method:
    return lambda self, p: p[LANE : 2 * LANE].as_signed()


def not_negated_back(_: Method) -> Method:
    return lambda self, p: (p >> 21)[:17]


def even_correction(right: Method) -> Method:
    return lambda *arguments: right(*arguments) & ~1


def wrong_for_one_input_of_2_33(right: Method) -> Method:
    def correction(self: Pe, m: Module, auxiliary: Value, wait: int) -> Value:
        rare = Cat(self.activation, self.weight0, self.weight1) == Cat(
            Const(1023, 11), Const(1234, 11), Const(77, 11)
        )
        return right(self, m, auxiliary, wait) + delayed(m, named(m, rare, "rare"), wait, "rare")

    return correction


def msb_kept(right: Method) -> Method:
    return lambda self, m: (right(self, m)[0], Mux(self.int4, right(self, m)[1], self.weight1))


def mode_too_early(right: Method) -> Method:
    return lambda self, m, p, cycles, overlap: right(self, m, p, cycles - 1, overlap)


def mode_too_late(right: Method) -> Method:
    return lambda self, m, p, cycles, overlap: right(self, m, p, cycles + 1, overlap)


def narrow_magnitude(right: Method) -> Method:
    return lambda self, int4, of_float, of_int4: right(self, int4, of_float, of_int4[:14].as_signed())


def preadder_adds(right: Method) -> Method:
    return lambda self, m, a, b, inmode: right(self, m, a, b, inmode & ~NEGATE_A)


def narrow_preadder(right: Method) -> Method:
    return lambda self, m, a, b, inmode: right(self, m, a[: PREADDER_BITS - 1], b, inmode)


def register_missing(right: Method) -> Method:
    return lambda stages: replace(right(stages), breg=1)


FAULTS: dict[str, tuple[Any, str, Callable[[Method], Method], str]] = {
    "the overlap is forgotten": (Pe, "_auxiliary", no_auxiliary, "fp16 product1"),
    "the upper product is not negated back": (Pe, "_high", not_negated_back, "fp16 product1"),
    "the borrow is not given back": (Pe, "_upper", no_borrow, "int4 product1"),
    "the correction loses a bit": (Pe, "_correction", even_correction, "fp16 product0"),
    "one input of 2^33 is wrong": (Pe, "_correction", wrong_for_one_input_of_2_33, "fp16 product0"),
    "the MSB is packed too": (Pe, "_packed", msb_kept, "fp16 product1"),
    "the mode comes early": (Pe, "_recover", mode_too_early, "int4 product0"),
    "the mode comes late": (Pe, "_recover", mode_too_late, "fp16 product1"),
    "a magnitude is too narrow": (Pe, "_chosen", narrow_magnitude, "int4 product0"),
    "the pre-adder does not subtract": (Dsp48e2, "_product", preadder_adds, "fp16 product1"),
    "the pre-adder is too narrow": (Dsp48e2, "_product", narrow_preadder, "int4 product1"),
    "a register is missing": (pe_module, "dsp_registers", register_missing, "fp16 product0"),
}


@pytest.mark.parametrize(("owner", "name", "fault", "wrong"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_has_a_counterexample(
    owner: Any, name: str, fault: Callable[[Method], Method], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault(getattr(owner, name)))
    bits, stages = SHIPPED
    pe = pe_of_rtlil(bits, stages, start=stages)  # from 0 in all registers, inputs lead to any state
    claim = next(claim for claim in pe.claims if claim.name == wrong)
    assert not proved(pe, claim)
    found = refuted(pe, claim)
    assert found is not None
    assert_wrong(bits, stages, claim.column, found)


def assert_wrong(bits: int, stages: int, column: int, found: Mapping[str, int]) -> None:
    """The product that Amaranth's simulator computes from these inputs is not the plain product."""
    cycles = [{port: found.get(f"{port}@{cycle}", 0) for port in INPUTS} for cycle in range(2 * stages + 1)]
    outputs = simulated(Pe(product_bits=bits, multiply_stages=stages), cycles)[-1]
    inputs = cycles[stages]
    expected = plain(inputs["int4"], inputs["activation"], inputs[f"weight{column}"], bits)
    assert outputs[f"product{column}"] != expected


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "name", "fault", "wrong"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_not_proved_in_the_emitted_verilog(
    owner: Any, name: str, fault: Callable[[Method], Method], wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault(getattr(owner, name)))
    pe = pe_of_verilog(*SHIPPED)
    assert wrong in [claim.name for claim in pe.claims if not proved(pe, claim)]
