"""The proof of the PE is about its RTL: terms compute what Amaranth simulates, and planted faults show."""

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
from skipopu.hdl.formal.netlist import netlist, parsed
from skipopu.hdl.formal.pe import proved, refuted
from skipopu.hdl.formal.pe_claim import INPUTS, Claim, pe_of_rtlil, pe_of_verilog
from skipopu.hdl.formal.search import holds
from skipopu.hdl.formal.unroll import Unrolled
from skipopu.hdl.pe import LANE, Pe
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block
from skipopu.spec.error import SpecError

SHIPPED = (22, 4)  # product_bits, multiply_stages
Method = Callable[..., Any]


# terms: Amaranth's simulator computes the same


class Operators(Block):
    """Operators of Amaranth in mixed widths and signs, a switch and a register."""

    def __init__(self) -> None:
        super().__init__({"a": In(5), "b": In(3), "y": Out(400)})

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
        m = Module()
        a, b, c, d = self.a, self.b, self.a.as_signed(), self.b.as_signed()
        pairs = [(left, right) for left in (a, c) for right in (b, d)]
        arithmetic = (operator.add, operator.sub, operator.mul, operator.and_, operator.or_, operator.xor)
        comparison = (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne)
        values = [function(*pair) for function in (*arithmetic, *comparison) for pair in pairs]
        values += [~a, -a, -c, a << b, c << b, a >> b, c >> b, a << 2, c >> 2]
        values += [Mux(b[0], a, c), Mux(b[1], c, d), self._switched(m)]
        m.d.comb += self.y.eq(Cat(*values, delayed(m, values[-1], 1, "kept")))
        return m

    def _switched(self, m: Module) -> Signal:
        a, c = self.a, self.a.as_signed()
        switched = Signal(6)
        with m.Switch(self.b):
            for code, value in enumerate((a, c, a + c, 3 * c, Const(-1, signed(6)))):
                with m.Case(code):
                    m.d.comb += switched.eq(value)
            with m.Default():
                m.d.comb += switched.eq(c - 9)
        return switched


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
    """The block itself in the place of an instance, which Amaranth cannot simulate."""
    m.submodules[name] = block
    return block


def assert_terms_compute(block: Block, cycles: Sequence[Mapping[str, int]]) -> None:
    rtl = terms_of(block)
    values = {f"{name}@{cycle}": number for cycle, each in enumerate(cycles) for name, number in each.items()}
    found = enumerate(simulated(block, cycles))
    same = [rtl.output(name, cycle) == number for cycle, each in found for name, number in each.items()]
    assert holds(z3.And(*same), values)
    assert not holds(z3.And(*same[:-1], z3.Not(same[-1])), values)


@cache
def terms_of(block: Block) -> Unrolled:
    return Unrolled(netlist(block))


OPERANDS = st.fixed_dictionaries({"a": st.integers(0, 31), "b": st.integers(0, 7)})
PORTS = st.fixed_dictionaries({"int4": st.integers(0, 1)} | dict.fromkeys(INPUTS[1:], st.integers(0, 2047)))


@settings(max_examples=20)
@given(st.lists(OPERANDS, min_size=10, max_size=10))
def test_cells_mean_what_amaranth_means(cycles: list[dict[str, int]]) -> None:
    assert_terms_compute(Operators(), cycles)


@settings(max_examples=12)
@given(st.sampled_from([1, 3, 4, 5]), st.lists(PORTS, min_size=8, max_size=8))
def test_terms_of_the_pe_are_what_it_computes(stages: int, cycles: list[dict[str, int]]) -> None:
    assert_terms_compute(Pe(product_bits=22, multiply_stages=stages), cycles)


class Divider(Block):
    """A cell that is not translated."""

    def __init__(self) -> None:
        super().__init__({"a": In(3), "y": Out(3)})

    def elaborate(self, platform: Any) -> Module:  # noqa: ARG002
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
    return lambda _self: Const(0, 5)


def no_borrow(_: Method) -> Method:
    return lambda _self, p: p[LANE : 2 * LANE].as_signed()


def not_negated_back(_: Method) -> Method:
    return lambda _self, p: (p >> 21)[:17]


def even_correction(right: Method) -> Method:
    return lambda *arguments: right(*arguments) & ~1


def wrong_for_one_input_of_2_33(right: Method) -> Method:
    def correction(self: Pe, m: Module, auxiliary: Value, wait: int) -> Value:
        rare = (self.activation == 1023) & (self.weight0 == 1234) & (self.weight1 == 77)
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


@pytest.fixture(params=FAULTS.values(), ids=FAULTS)
def claim_without_proof(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Plant a fault, give the claim that is wrong then; no block converted before or with it is kept."""
    owner, name, fault, wrong = request.param
    monkeypatch.setattr(owner, name, fault(getattr(owner, name)))
    _forget()
    yield wrong
    _forget()


def _forget() -> None:
    verilog._converted.cache_clear()
    verilog._written.clear()


def test_a_planted_fault_has_a_counterexample(claim_without_proof: str) -> None:
    pe = pe_of_rtlil(*SHIPPED, start=SHIPPED[1])  # later than 0: inputs have led to the state
    claim = next(claim for claim in pe.claims if claim.name == claim_without_proof)
    assert not proved(pe, claim)
    found = refuted(pe, claim)
    assert found is not None
    assert_wrong(claim, found)


def assert_wrong(claim: Claim, found: Mapping[str, int]) -> None:
    """With these inputs the simulated RTL answers something else than the plain product."""
    bits, stages = SHIPPED
    cycles = [{port: found.get(f"{port}@{cycle}", 0) for port in INPUTS} for cycle in range(2 * stages + 1)]
    answer = simulated(Pe(product_bits=bits, multiply_stages=stages), cycles)[-1][f"product{claim.column}"]
    assert all(holds(each, found) for each in claim.given)
    assert not holds(claim.expected == answer, found)


@pytest.mark.slow
def test_a_planted_fault_is_not_proved_of_the_emitted_verilog(claim_without_proof: str) -> None:
    pe = pe_of_verilog(*SHIPPED)
    assert claim_without_proof in [claim.name for claim in pe.claims if not proved(pe, claim)]
