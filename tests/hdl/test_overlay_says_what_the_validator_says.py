"""Faulty programs in the whole overlay: its status registers hold what the validator finds, and it stops."""

from functools import cache

import pytest

from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_errors import SPOILS, ErrorRun, run_spoiled
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl
from skipopu.hdl.cosim.overlay_seed import Seed
from skipopu.program.status import Condition, text
from skipopu.spec.overlay import Overlay

pytestmark = pytest.mark.slow
PLACES = (0, 17)  # instructions: the first, and one after the queues have filled


@cache
def case() -> Case:
    return Seed(layers=1, prompt=3, decode=1).case()


@cache
def rtl() -> OverlayRtl:
    return OverlayRtl(Overlay.load("tiny"))


@cache
def found(name: str, index: int) -> ErrorRun:
    return run_spoiled(case(), name, index, rtl())


@pytest.mark.parametrize("index", PLACES)
@pytest.mark.parametrize("name", SPOILS)
def test_the_status_is_the_validators(name: str, index: int) -> None:
    run = found(name, index)
    assert run.validator.code != Condition.OK
    assert text(run.registers.status) == text(run.validator)
    assert run.registers.status == run.validator


@pytest.mark.parametrize("index", PLACES)
@pytest.mark.parametrize("name", SPOILS)
def test_what_was_dispatched_before_retires_and_the_overlay_stops(name: str, index: int) -> None:
    run = found(name, index)
    assert (run.registers.flag("running"), run.registers.flag("error")) == (False, True)
    assert run.retired == run.registers.retired == run.registers.status.index
