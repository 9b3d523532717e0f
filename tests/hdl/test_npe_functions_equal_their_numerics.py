"""Function units of the NPE beside numerics: every bit, every latency, in Verilator."""

from collections import Counter

import numpy as np
import pytest

from skipopu.hdl.cosim.npe_function import Function
from skipopu.hdl.cosim.npe_function_operands import COUNT
from skipopu.hdl.cosim.npe_function_units import FUNCTIONS
from skipopu.hdl.cosim.npe_functions import cosimulate
from skipopu.numerics.floating_point import FP16, FP32, Format

SEED = 5
FP16_RESULTS = ("multiplication fp32 fp16 fp16", "multiplication fp16 fp16 fp16", "multiplication fp32 fp32 fp16")
FP16_RESULTS += ("SwiGLU", "narrowing", "residual addition", "rotary")
FP32_RESULTS = ("multiplication fp32 fp16 fp32", "multiplication fp32 fp32 fp32")
UNARY = {"fixed argument", "SiLU", "GELU", "widening", "reduction term of a number", "reduction term of a square"}


def test_all_units_equal_their_numerics_at_their_latency() -> None:
    found = cosimulate(FUNCTIONS, SEED)
    assert [str(difference) for difference in found.differences.values()] == []
    assert set(found.cases) == {f.name for f in FUNCTIONS}
    assert len(found.cases) == len(FUNCTIONS)
    assert {name for name, count in found.cases.items() if count == 1 << 16} == UNARY
    assert min(found.cases.values()) >= COUNT


@pytest.mark.slow
@pytest.mark.parametrize("stages", [1, 2, 3, 5, 8, 13, 30])
def test_any_number_of_stages_changes_the_latency_only(stages: int) -> None:
    found = cosimulate(FUNCTIONS, stages, stages=stages)
    assert [str(difference) for difference in found.differences.values()] == []


@pytest.mark.slow
@pytest.mark.parametrize("late", [-1, 1])
def test_a_result_in_another_cycle_is_another_result(late: int) -> None:
    shifted = [_late(f, late) for f in FUNCTIONS]
    assert set(cosimulate(shifted, SEED, stages=4).differences) == {f.name for f in FUNCTIONS}


def _late(function: Function, cycles: int) -> Function:
    return function._replace(unit=lambda stages: function.unit(stages + cycles))


def test_every_unary_function_of_fp16_sees_every_word() -> None:
    rng = np.random.default_rng(SEED)
    for function in FUNCTIONS:
        if function.name in UNARY:
            assert {case[0] for case in function.cases(rng)} == set(range(1 << 16))


def kind(word: int, form: Format) -> str:
    magnitude = word & (form.sign - 1)
    if magnitude >= form.infinity:
        return "infinite" if magnitude == form.infinity else "nan"
    return "normal" if magnitude >> form.fraction_bits else "subnormal" if magnitude else "zero"


@pytest.mark.parametrize("name", [*FP16_RESULTS, *FP32_RESULTS])
def test_the_operands_reach_every_kind_of_result(name: str) -> None:
    function = next(f for f in FUNCTIONS if f.name == name)
    form = FP16 if name in FP16_RESULTS else FP32
    kinds: Counter[str] = Counter()
    for case in list(function.cases(np.random.default_rng(SEED)))[::4]:
        kinds[kind(function.expected(*case)[0], form)] += 1
    assert {k for k, count in kinds.items() if count >= 20} == {"normal", "subnormal", "zero", "infinite", "nan"}, kinds
