"""One fault at a time in the RTL of KV append: the co-simulation must end in a difference."""

from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Const, Module, Value

from skipopu.hdl.cosim.kv_append import cosimulate
from skipopu.hdl.kv_append import KvAppend
from skipopu.hdl.kv_append_gear import KvAppendGear
from skipopu.hdl.kv_append_places import KvAppendPlaces
from skipopu.hdl.kv_append_tiles import KvAppendTiles
from skipopu.hdl.kv_append_writes import KvAppendWrites
from skipopu.program.isa import Gate
from skipopu.spec.overlay import Overlay

BURSTS, SEED = 600, 3
Method = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("converted_anew")


def never(_: Method) -> Method:
    return lambda self, *_: Const(0)


def always(_: Method) -> Method:
    return lambda self, *_: Const(1)


def it_stays(_: Method) -> Method:
    return lambda self, appended: appended


def one_tile_less(right: Method) -> Method:
    return lambda self: right(self) - 1


def one_tile_more(right: Method) -> Method:
    return lambda self: right(self) + 1


def before_it_is_acknowledged(_: Method) -> Method:
    return lambda self, writes, marked: self.running & ~writes.left & marked


def before_all_rows_are_marked(_: Method) -> Method:
    return lambda self, writes, marked: self.running & ~writes.left & ~self.writes_pending


def ffn_bit(_: Method) -> Method:
    return lambda self: (self.head.gate == Gate.ALL) | self.row_bits[1]


def a_burst_too_long(_: Method) -> Method:
    def full(self: KvAppendWrites, chunk: Value) -> Value:
        most = self._shape.kv.burst_chunks + 1
        return chunk % most == most - 1

    return full


def tiles_of_the_second_half(right: Method) -> Method:
    def gather(self: KvAppendGear, m: Module, queue: Any) -> None:
        right(self, m, queue)
        m.d.comb += queue.write_data.eq(self.tile.replicate(self._shape.chunk_tiles))

    return gather


FAULTS: dict[str, tuple[Any, str, Callable[[Method], Method]]] = {
    "K of two heads is stored as V is": (KvAppendTiles, "_by_turns", never),
}
MORE_FAULTS: dict[str, tuple[Any, str, Callable[[Method], Method]]] = {
    "a burst crosses 4 KiB": (KvAppendWrites, "_boundary", never),
    "V is stored as K of two heads is": (KvAppendTiles, "_by_turns", always),
    "a burst is as long as its piece": (KvAppendWrites, "_full", never),
    "a burst has a chunk too many": (KvAppendWrites, "_full", a_burst_too_long),
    "K and V do not lie side by side": (KvAppend, "_advances", always),
    "no place is ever taken": (KvAppend, "_advances", never),
    "a program begins where the last one ended": (KvAppendPlaces, "_after_restart", it_stays),
    "a tile less is asked ahead": (KvAppendGear, "_most", one_tile_less),
    "a tile more is asked ahead": (KvAppendGear, "_most", one_tile_more),
    "a chunk has one tile twice": (KvAppendGear, "_gather", tiles_of_the_second_half),
    "it leaves before its bursts are acknowledged": (KvAppend, "_finished", before_it_is_acknowledged),
    "it leaves before all rows are marked": (KvAppend, "_finished", before_all_rows_are_marked),
    "the bitmask holds the ffn's bit": (KvAppend, "_executes", ffn_bit),
    "every row is marked": (KvAppend, "_executes", always),
}
faults = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE_FAULTS.items()]


@pytest.mark.parametrize(("block", "method", "fault"), [*faults, *slow])
def test_the_fault_is_found(
    block: Any, method: str, fault: Callable[[Method], Method], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, method, fault(getattr(block, method)))
    assert cosimulate(Overlay.load("tiny"), BURSTS, SEED).difference is not None


@pytest.mark.slow
def test_without_a_fault_it_is_green() -> None:
    assert cosimulate(Overlay.load("tiny"), BURSTS, SEED).difference is None
