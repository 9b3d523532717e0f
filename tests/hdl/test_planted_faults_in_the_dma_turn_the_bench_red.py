"""One fault at a time in the RTL of the DMA: the co-simulation must end in a difference."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from amaranth.hdl import Const, Value

from skipopu.hdl import async_fifo, gray_count
from skipopu.hdl.async_fifo import AsyncFifo
from skipopu.hdl.cosim.dma import cosimulate
from skipopu.hdl.gray_count import GrayCount
from skipopu.hdl.read_master import ReadMaster
from skipopu.hdl.weight_requester import WeightRequester
from skipopu.hdl.weight_stream import WeightStream
from skipopu.hdl.write_data import WriteData
from skipopu.hdl.write_master import WriteMaster
from skipopu.spec.overlay import Overlay

Method = Callable[..., Any]
BURSTS, SEED = 1200, 3
pytestmark = pytest.mark.usefixtures("converted_anew")


def not_gray(_: Method) -> Method:
    return lambda self, number: number


def one_too_many(_: Method) -> Method:
    return lambda self, outstanding: outstanding <= self._bursts


def stage_short(right: Method) -> Method:
    return lambda m, code, stages, *where: right(m, code, stages - 1, *where)


def swapped(_: Method) -> Method:
    return lambda self, kv: ~kv


def never_waits(_: Method) -> Method:
    return lambda self: Const(1)


def every_beat(_: Method) -> Method:
    return lambda self: self.rvalid


def last_is_lost(right: Method) -> Method:
    return lambda self, identifier: right(self, identifier) & ~self.rlast


def half_as_many_boundaries(right: Method) -> Method:
    return lambda self: 2 * right(self)


def room_for_one_more(_: Method) -> Method:
    return lambda self, chunks: chunks <= self._credit + 1


def port_0_pops_alone(right: Method) -> Method:
    def pops(self: WeightStream, port: int, popped: Value) -> Value:
        return right(self, port, popped) if port else self.chunk[0].valid & self.weights.ready

    return pops


def a_beat_early(_: Method) -> Method:
    return lambda self, last_chunk, last_beat: last_chunk


def a_tick_late(_: Method) -> Method:
    return lambda self, due: due.any()


Fault = tuple[type | ModuleType, str, Callable[[Method], Method], tuple[str, ...]]
FEW_READS = ("dma.read_bursts=2",)  # else the FIFOs are the limit
FAULTS: dict[str, Fault] = {
    "a FIFO's pointer is not in Gray code": (AsyncFifo, "_code", not_gray, ()),
    "a burst crosses 4 KiB": (WeightRequester, "_page_chunks", half_as_many_boundaries, ()),
}
MORE: dict[str, Fault] = {
    "WLAST comes a beat early": (WriteData, "_ends", a_beat_early, ()),
    "the last beat of a burst is lost": (ReadMaster, "_is_for", last_is_lost, ()),
    "a count is not in Gray code": (GrayCount, "_code", not_gray, ()),
    "a FIFO's synchroniser is a stage short": (async_fifo, "synchronised", stage_short, ()),
    "a count's synchroniser is a stage short": (gray_count, "synchronised", stage_short, ()),
    "a read burst too many": (ReadMaster, "_may_ask", one_too_many, FEW_READS),
    "a write burst too many": (WriteMaster, "_may_write", one_too_many, ()),
    "a chunk too many": (WeightRequester, "_fits", room_for_one_more, ()),
    "weights and K/V are swapped": (ReadMaster, "_identifier", swapped, ()),
    "one port is popped alone": (WeightStream, "_pops", port_0_pops_alone, ()),
    "AR changes before it is taken": (ReadMaster, "_may_load", never_waits, ()),
    "every beat completes a burst": (ReadMaster, "_completes", every_beat, ()),
    "W comes a tick late": (WriteData, "_may_send", a_tick_late, ()),
}
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]
few = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    assert cosimulate(Overlay.load("tiny"), BURSTS, SEED).difference is None


@pytest.mark.parametrize(("block", "method", "fault", "settings"), [*few, *slow])
def test_the_fault_is_found(
    block: type | ModuleType, method: str, fault: Callable[[Method], Method], settings: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert cosimulate(Overlay.load("tiny", settings), BURSTS, SEED).difference is not None
