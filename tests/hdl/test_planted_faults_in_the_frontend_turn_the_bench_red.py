"""One fault at a time in the RTL of the frontend: the co-simulation must end in a difference."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Const
from frontend_programs import OVERLAY, faulty_programs, run, work_of

from skipopu.hdl import instruction_check
from skipopu.hdl.cosim.frontend import cosimulate
from skipopu.hdl.engine_queue import EngineQueue
from skipopu.hdl.instruction_check import InstructionCheck
from skipopu.hdl.instruction_fetch import InstructionFetch
from skipopu.hdl.program_run import ProgramRun
from skipopu.hdl.semaphore_check import SemaphoreCheck
from skipopu.hdl.semaphores import Semaphores
from skipopu.hdl.sequencer import Sequencer
from skipopu.program.instruction_check import check_instructions
from skipopu.program.status import Condition

Method = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("converted_anew")


def always(_: Method) -> Method:
    return lambda self, *given: Const(1)


def never(_: Method) -> Method:
    return lambda self, *given: Const(0)


def one_less(_: Method) -> Method:
    return lambda self, level: level == self._depth - 1


def a_burst_less(right: Method) -> Method:
    return lambda self, ahead: right(self, ahead + 1)


def not_taken(_: Method) -> Method:
    return lambda self, count, given, taken: count + given


def saturates(_: Method) -> Method:
    return lambda self, count, given, taken: (count | given) & ~taken


def a_stage_short(right: Method) -> Method:
    def pipeline(self: Sequencer, *given: Any) -> None:
        self._stages -= 1
        right(self, *given)
        self._stages += 1

    return pipeline


def one_early(_: Method) -> Method:
    return lambda self, left: left <= 1


def nothing_reserved(_: Method) -> Method:
    return lambda: 0


Fault = tuple[type | ModuleType, str, Callable[[Method], Method]]
TIMING: dict[str, Fault] = {
    "an instruction does not wait for its semaphores": (EngineQueue, "_is_met", always),
    "the issue cycle is the last one at the head": (EngineQueue, "_comes", always),
    "a semaphore is not taken": (Semaphores, "_after", not_taken),
    "a semaphore counts to one": (Semaphores, "_after", saturates),
    "a queue is full one early": (Sequencer, "_is_full", one_less),
    "an instruction comes a stage early": (Sequencer, "_pipeline", a_stage_short),
    "the fetch waits for room it has": (InstructionFetch, "_has_room", a_burst_less),
    "the program ends before its last instruction": (ProgramRun, "_is_over", one_early),
}
CHECKS: dict[str, tuple[Condition, Fault]] = {
    "reserved bits pass": (Condition.RESERVED_BITS, (instruction_check, "_reserved", nothing_reserved)),
    "fields are not checked": (Condition.ILLEGAL_FIELD, (InstructionCheck, "_is_above", never)),
    "addresses are not checked": (Condition.MISALIGNED_ADDRESS, (InstructionCheck, "_remainder", never)),
    "lengths are not checked": (Condition.MISALIGNED_LENGTH, (InstructionCheck, "_remainder", never)),
    "no semaphore underflows": (Condition.SEMAPHORE_UNDERFLOW, (SemaphoreCheck, "_is_zero", never)),
}


def plant(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, change = fault
    monkeypatch.setattr(owner, name, change(getattr(owner, name)))


FEW = ("the issue cycle is the last one at the head",)
few = [pytest.param(TIMING[name], id=name) for name in FEW]
slow = [pytest.param(TIMING[name], id=name, marks=pytest.mark.slow) for name in TIMING if name not in FEW]


@pytest.mark.parametrize("fault", [*few, *slow])
def test_a_fault_in_timing_is_found(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(fault, monkeypatch)
    assert cosimulate(OVERLAY, 8, 200, seed=1).difference is not None


@pytest.mark.slow
@pytest.mark.parametrize(("condition", "fault"), CHECKS.values(), ids=CHECKS)
def test_a_check_that_is_missing_is_found(condition: Condition, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(fault, monkeypatch)
    programs = faulty_programs()[condition][:4]
    found = [seen.status for seen in run([work_of(words) for words in programs])]
    assert found != [check_instructions(words, OVERLAY) for words in programs]
