"""The accumulator's adder against NumPy's float32 and float16 addition: subnormals, ties, overflow, NaN."""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from numpy.typing import NDArray

from skipopu.hdl.float_adder import FloatAdder

PAIRS = 1500
TYPES = {"fp32": (np.uint32, np.float32), "fp16": (np.uint16, np.float16)}
CANONICAL = {"fp32": 0x7FC00000, "fp16": 0x7E00}
EDGES = {
    "fp32": [0, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000],
    "fp16": [0, 1, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0x7C01, 0x7E00],
}


def operands(name: str, seed: int) -> NDArray[Any]:
    """Pairs of bits: anything, close exponents, cancelling, and all pairs of the edges."""
    bits, rng = TYPES[name][0], np.random.default_rng(seed)
    top, width = np.iinfo(bits).max, np.iinfo(bits).bits
    anything = rng.integers(0, top, (PAIRS, 2), endpoint=True).astype(bits)
    near = anything.copy()
    near[:, 1] = near[:, 0] ^ rng.integers(0, 1 << width // 2, PAIRS).astype(bits)
    near[:, 1] ^= bits(1 << width - 1) * rng.integers(0, 2, PAIRS).astype(bits)
    edges = np.array(EDGES[name] + [e | 1 << width - 1 for e in EDGES[name]], bits)
    every = np.stack(np.meshgrid(edges, edges), -1).reshape(-1, 2)
    return np.concatenate([anything, near, every])


def expected(name: str, pairs: NDArray[Any]) -> NDArray[Any]:
    bits, number = TYPES[name]
    with np.errstate(all="ignore"):
        sums = np.add(*pairs.T.copy().view(number))
    return np.where(np.isnan(sums), bits(CANONICAL[name]), sums.view(bits))


def run(adder: FloatAdder, pairs: NDArray[Any], latency: int) -> list[int]:
    m, beat = Module(), Signal()
    m.submodules.adder = adder
    m.d.sync += beat.eq(~beat)
    found: list[int] = []

    async def bench(context: Any) -> None:
        for a, b in [*pairs.tolist(), *[[0, 0]] * latency]:
            context.set(adder.a, a)
            context.set(adder.b, b)
            await context.delay(1e-9)
            found.append(context.get(adder.result))
            await context.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found[latency:]


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize(("stages", "registered"), [(1, False), (4, False), (4, True), (7, True)])
def test_sums_of_all_kinds(name: str, stages: int, registered: bool) -> None:
    pairs = operands(name, stages)
    adder = FloatAdder(format=name, stages=stages, registered_output=registered)
    found = run(adder, pairs, stages - (not registered))
    wrong = np.flatnonzero(np.array(found) != expected(name, pairs))
    assert [(hex(pairs[i, 0]), hex(pairs[i, 1]), hex(found[i])) for i in wrong[:3]] == []
