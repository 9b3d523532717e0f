"""One fault at a time in the RTL of the KV buffer: the co-simulation must end in a difference."""

import pytest
from kv_buffer_faults import FAULTS, MORE_FAULTS, ONE_BANK, Replacement

from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.kv_buffer import cosimulate
from skipopu.spec.overlay import Overlay

BURSTS, SEED = 2500, 3
pytestmark = pytest.mark.usefixtures("converted_anew")


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), ONE_BANK], ids=["tiny", "one bank"])
def test_without_a_fault_it_is_green(settings: tuple[str, ...]) -> None:
    assert difference(*settings) is None


@pytest.mark.parametrize(("block", "method", "fault", "settings"), FAULTS.values(), ids=FAULTS)
def test_the_fault_is_found(
    block: type, method: str, fault: Replacement, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert difference(*settings) is not None


@pytest.mark.slow
@pytest.mark.parametrize(("block", "method", "fault", "settings"), MORE_FAULTS.values(), ids=MORE_FAULTS)
def test_every_other_fault_is_found(
    block: type, method: str, fault: Replacement, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert difference(*settings) is not None


def difference(*settings: str) -> Difference | None:
    return cosimulate(Overlay.load("tiny", settings), BURSTS, SEED).difference
