"""The behavioural DSP48E2 against integers, written from UG579: pre-adder, multiplier, ALU, lanes, registers."""

from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.hdl.dsp48e2 import Dsp48e2, DspRegisters

CYCLES = 12
WIDTHS = {"a": 30, "b": 18, "c": 48, "d": 27}
MASK = (1 << 48) - 1


def signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def words(bits: int) -> st.SearchStrategy[int]:
    edges = st.sampled_from([0, 1, (1 << bits) - 1, 1 << bits - 1, (1 << bits - 1) - 1])
    return edges | st.integers(0, (1 << bits) - 1)


def alu(x: int, y: int, z: int, w: int, alumode: int, lanes: int) -> int:
    """UG579 table 2-9, each lane alone: Z + …, ~Z + …, ~(Z + …), Z − …."""
    width, found = 48 // lanes, 0
    for lane in range(lanes):
        xs, ys, zs, ws = ((v >> lane * width) & ((1 << width) - 1) for v in (x, y, z, w))
        others = ws + xs + ys
        total = {0: zs + others, 1: -zs + others - 1, 2: -(zs + others) - 1, 3: zs - others}[alumode]
        found |= (total & ((1 << width) - 1)) << lane * width
    return found


def multiplied(i: dict[str, int], inmode: int) -> int:
    """(D ± A)·B; INMODE: bit 1 gates A, bit 2 enables D, bit 3 subtracts."""
    a = 0 if inmode & 2 else signed(i["a"], 27)
    d = signed(i["d"], 27) if inmode & 4 else 0
    ad = signed(d - a if inmode & 8 else d + a, 27)
    return ad * signed(i["b"], 18)


def clocked(block: Dsp48e2) -> Module:
    """The block beside a register, so that there is a clock even where it has none."""
    m, beat = Module(), Signal()
    m.submodules.dsp = block
    m.d.sync += beat.eq(~beat)
    return m


def run(block: Dsp48e2, inputs: list[dict[str, int]], constants: dict[str, int]) -> list[int]:
    """P in every cycle while ``inputs`` pass by."""
    found: list[int] = []

    async def bench(context: Any) -> None:
        for name, value in constants.items():
            context.set(getattr(block, name), value)
        for cycle in inputs:
            for name, value in cycle.items():
                context.set(getattr(block, name), value)
            await context.delay(1e-9)
            found.append(context.get(block.p))
            await context.tick()

    simulator = Simulator(clocked(block))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


STREAMS = st.lists(
    st.fixed_dictionaries({name: words(bits) for name, bits in WIDTHS.items()}), min_size=CYCLES, max_size=CYCLES
)
REGISTERS = st.builds(
    DspRegisters, areg=st.integers(0, 1), breg=st.integers(0, 2), creg=st.integers(0, 1), dreg=st.just(0),
    adreg=st.integers(0, 1), mreg=st.integers(0, 1), preg=st.integers(0, 1), inmodereg=st.integers(0, 1),
)  # fmt: skip


@settings(max_examples=60)
@given(inputs=STREAMS, registers=REGISTERS, inmode=st.sampled_from([0, 2, 4, 6, 12, 14, 8]), alumode=st.integers(0, 3))
def test_multiply_add(inputs: list[dict[str, int]], registers: DspRegisters, inmode: int, alumode: int) -> None:
    """P = C + (D ± A)·B with every operand delayed by its own registers."""
    registers = DspRegisters(**{**vars(registers), "dreg": registers.areg})
    block = Dsp48e2(name="dsp", registers=registers)
    found = run(block, inputs, {"inmode": inmode, "opmode": 0b00_011_01_01, "alumode": alumode})
    r = registers
    tail = r.mreg + r.preg
    for cycle in range(6, CYCLES):
        pick = {
            "a": inputs[cycle - r.areg - r.adreg - tail]["a"], "d": inputs[cycle - r.dreg - r.adreg - tail]["d"],
            "b": inputs[cycle - r.breg - tail]["b"],
        }  # fmt: skip
        product = multiplied(pick, inmode) & MASK
        assert found[cycle] == alu(product, 0, inputs[cycle - r.creg - r.preg]["c"], 0, alumode, 1)


@settings(max_examples=60)
@given(
    inputs=STREAMS, simd=st.sampled_from(["ONE48", "TWO24", "FOUR12"]), alumode=st.integers(0, 3),
    y=st.sampled_from([0b00, 0b10, 0b11]), w=st.sampled_from([0b00, 0b11]), preg=st.integers(0, 1),
)  # fmt: skip
def test_lanes_add_without_a_carry_between_them(
    inputs: list[dict[str, int]], simd: str, alumode: int, y: int, w: int, preg: int
) -> None:
    none = DspRegisters(areg=0, breg=0, creg=0, dreg=0, adreg=0, mreg=0, preg=preg, inmodereg=0)
    block = Dsp48e2(name="dsp", registers=none, use_mult=False, simd=simd)
    opmode = w << 7 | 0b011 << 4 | y << 2 | 0b11
    found = run(block, inputs, {"opmode": opmode, "alumode": alumode, "inmode": 0})
    for cycle in range(2, CYCLES):
        i = inputs[cycle - preg]
        x, c = i["a"] << 18 | i["b"], i["c"]
        ys = {0b00: 0, 0b10: MASK, 0b11: c}[y]
        assert found[cycle] == alu(x, ys, c, c if w else 0, alumode, block.lanes)


@given(inputs=STREAMS)
@settings(max_examples=20)
def test_p_feeds_back(inputs: list[dict[str, int]]) -> None:
    """OPMODE Z = P: an accumulator; Z = P >> 17 likewise."""
    registers = DspRegisters(areg=0, breg=0, creg=0, dreg=0, adreg=0, mreg=0, preg=1, inmodereg=0)
    for z, shift in ((0b010, 0), (0b110, 17)):
        block = Dsp48e2(name="dsp", registers=registers)
        found = run(block, inputs, {"opmode": z << 4 | 0b0101, "inmode": 4, "alumode": 0})
        p = 0
        for cycle in range(CYCLES):
            assert found[cycle] == p
            i = inputs[cycle]
            p = ((signed(p, 48) >> shift) + multiplied(i, 4)) & MASK


def test_a_product_has_no_lanes() -> None:
    with pytest.raises(ValueError, match=r"^simd = TWO24: the lanes of the adder cannot take a product"):
        Dsp48e2(name="dsp", registers=DspRegisters(), simd="TWO24")
