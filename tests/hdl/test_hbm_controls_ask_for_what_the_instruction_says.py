"""LOAD_WEIGHTS and READ_KV become operations of DMA and KV buffer; a cycle has the simulator's cause."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const

from skipopu.hdl import dma_control
from skipopu.hdl.cosim.hbm_control import cosimulate
from skipopu.hdl.dma_control import DmaControl
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
CYCLES = 3000


@pytest.mark.parametrize("ratio", [1, 2, 8])
def test_random_instructions(ratio: int) -> None:
    found = cosimulate(Overlay.load("tiny", (f"clock.hbm_ratio={ratio}",)), CYCLES, seed=1)
    assert found.difference is None
    assert found.instructions > CYCLES // 10


def always(_: Method) -> Method:
    return lambda head, executed: Const(1)


def as_it_is(_: Method) -> Method:
    return lambda address, chunk_bytes: address


def never_owed(right: Method) -> Method:
    return lambda self, m, sets: right(self, m, Const(0))


@pytest.mark.slow
@pytest.mark.usefixtures("converted_anew")
@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [(dma_control, "executes", always), (dma_control, "in_chunks", as_it_is), (DmaControl, "_cause", never_owed)],
)
def test_a_planted_fault_is_found(
    owner: Any, name: str, fault: Callable[[Method], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault(getattr(owner, name)))
    assert cosimulate(Overlay.load("tiny", ("clock.hbm_ratio=4",)), CYCLES, seed=1).difference is not None
