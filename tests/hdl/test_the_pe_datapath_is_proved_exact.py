"""Both products of the PE's RTL are the plain products, for all inputs: proved, and a wrong claim is refuted.

Proved: the claims in the docstring of `skipopu.hdl.formal.pe`. Ordinary run: product_bits 22 with
multiply_stages 1 … 5 and product_bits 15 with 4, as shipped, in RTLIL. Slow: every multiply_stages and
product_bits that a specification can ask for; the emitted Verilog in Yosys' own translation; without lemmas INT4
for all activations and FP16 for some (`python -m skipopu.hdl.formal.pe --split` takes all).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import z3
from hypothesis import given
from hypothesis import strategies as st

from skipopu.hdl.formal import lemmas
from skipopu.hdl.formal.abstraction import consistent, follows
from skipopu.hdl.formal.lemmas import Lemma
from skipopu.hdl.formal.netlist import netlist
from skipopu.hdl.formal.pe import TELLING, main, proved, split
from skipopu.hdl.formal.pe_claim import Claim, UnrolledPe, pe_of_rtlil, pe_of_verilog
from skipopu.hdl.formal.pe_facts import facts
from skipopu.hdl.formal.search import holds
from skipopu.hdl.formal.terms import constants
from skipopu.hdl.formal.unroll import Unrolled
from skipopu.hdl.pe import Pe

SHIPPED = (22, 4)
EVERY_WIDTH, EVERY_LATENCY = range(15, 23), range(1, 17)
SIGNIFICAND = st.integers(0, 2047)


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
def test_int4_is_proved_without_lemmas() -> None:
    assert_no_counterexample("int4", range(2048))


@pytest.mark.slow
def test_fp16_has_no_counterexample_without_lemmas_for_every_19th_activation() -> None:
    assert_no_counterexample("fp16", range(0, 2048, 19))


def assert_no_counterexample(mode: str, activations: Sequence[int]) -> None:
    pe = pe_of_rtlil(*SHIPPED)
    assert [split(pe, claim, activations) for claim in pe.claims if claim.mode == mode] == [None, None]


def test_the_command_prints_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("skipopu.hdl.formal.pe.OTHERS", ())
        patch.setattr("skipopu.hdl.formal.pe.SHIPPED", ((22, 1),))
        assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all("product_bits 22, multiply_stages 1: " in line and "RTLIL: proved (" in line for line in lines)


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


def test_nothing_is_assumed_but_the_mode() -> None:
    for claim in shipped_pe(22).claims:
        assert [str(each) for each in claim.given] == [f"int4@0 == {int(claim.mode == 'int4')}"]


def test_inputs_of_other_cycles_and_registers_are_free() -> None:
    pe = pe_of_rtlil(*SHIPPED, start=1)
    ports = {f"{port}@{cycle}" for port in ("activation", "weight0", "weight1") for cycle in (0, 1)}
    assert ports <= set(constants(*pe.products))
    assert any(name.startswith("$") for name in constants(*pe.products))  # registers


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
    for claim in (wrong.claims[0], wrong.claims[-1]):
        assert not proved(wrong, claim)
        assert split(wrong, claim, TELLING) is not None


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
