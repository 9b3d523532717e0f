"""One fault at a time in the RTL of load, store, global buffer and DDR4 ports: a difference must come of it."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const

from skipopu.hdl.cosim.ddr import cosimulate
from skipopu.hdl.ddr_burst import DdrBursts
from skipopu.hdl.ddr_ports import DdrPorts
from skipopu.hdl.ddr_read_channel import DdrReadChannel
from skipopu.hdl.ddr_write_channel import DdrWriteChannel
from skipopu.hdl.global_buffer import GlobalBuffer
from skipopu.hdl.load import Load
from skipopu.hdl.place_counter import PlaceCounter
from skipopu.hdl.store import Store
from skipopu.hdl.transfer_amount import TransferAmount
from skipopu.spec.overlay import AXI3_BURST_BEATS, Overlay

Method = Callable[..., Any]
Fault = tuple[type, str, Method, tuple[str, ...]]
BURSTS, SEED = 200, 3
ONE_READ, ONE_WRITE = ("dma.ddr_read_bursts=1",), ("dma.ddr_write_bursts=1",)
FULL = ("pe_array.dot_length=64", *ONE_WRITE)  # a word a cycle into the write FIFO: the DDR4 takes less
pytestmark = pytest.mark.usefixtures("converted_anew")

FAULTS: dict[str, Fault] = {
    "a burst crosses 4 KiB": (DdrBursts, "_most", lambda self, address: Const(AXI3_BURST_BEATS, 5), ()),
}
MORE: dict[str, Fault] = {
    "a channel that has not taken a burst is forgotten": (DdrPorts, "_all", lambda self, taken: taken.any(), ()),
    "a read burst too many": (
        DdrReadChannel, "_may_ask", lambda self, outstanding: outstanding <= self._bursts, ONE_READ),
    "every beat ends a burst": (DdrReadChannel, "_ends", lambda self: self.rvalid, ONE_READ),
    "the fetch goes first": (DdrReadChannel, "_fetch_goes", lambda self, held: self.fetch.valid, ()),
    "AR changes before it is taken": (DdrReadChannel, "_fetch_goes", lambda self, held: ~self.read.valid, ()),
    "load and fetch are swapped": (
        DdrReadChannel, "_is_for", lambda self, identifier: self.rvalid & (self.rid != identifier), ()),
    "a write burst too many": (
        DdrWriteChannel, "_may_ask", lambda self, unacknowledged: unacknowledged <= self._bursts, ONE_WRITE),
    "WLAST comes a beat early": (DdrWriteChannel, "_is_last", lambda self, beat, length: beat + 1 >= length, ()),
    "a store ends before its acknowledgement": (
        Store, "_done", lambda self, tiles, words: (tiles == 0) & (words == 0), ()),
    "a tile too many in the write FIFO": (Store, "_fits", lambda self, level, tile, most: level <= most, FULL),
    "a burst too many in the read FIFO": (
        Load, "_fits", lambda self, asked, beats: asked <= self._room, ("dma.ddr_beats=24",)),
    "a load ends a cycle late": (Load, "_last", lambda self, left, step: left == 0, ()),
    "rows are as far apart as they are many": (PlaceCounter, "_next_base", lambda self, base: base + self.rows, ()),
    "the last words are not filled up": (TransferAmount, "_words", lambda self, tiles: tiles >> 2, ()),
    "all rows move": (TransferAmount, "_moved", lambda self: self.head.rows, ()),
    "load does not wait for a reserved cycle": (GlobalBuffer, "_may_load", lambda self, reserved: Const(1, 1), ()),
    "a tile too many is read": (
        GlobalBuffer, "_left", lambda self, used, tiles: used + tiles <= self._buffer.read_ports + 1, ()),
}  # fmt: skip
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]
few = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(), ONE_READ, ONE_WRITE, FULL, ("dma.ddr_beats=24",)])
def test_without_a_fault_it_is_green(settings: tuple[str, ...]) -> None:
    assert cosimulate(Overlay.load("tiny", settings), BURSTS, SEED).difference is None


@pytest.mark.parametrize(("block", "method", "fault", "settings"), [*few, *slow])
def test_the_fault_is_found(
    block: type, method: str, fault: Method, settings: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault)
    assert cosimulate(Overlay.load("tiny", settings), BURSTS, SEED).difference is not None
