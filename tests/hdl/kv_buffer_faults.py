"""Faults of the KV buffer's RTL: a block, the method that has it, and what takes the method's place."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value

from skipopu.hdl.bitmask import Bitmask
from skipopu.hdl.kv_buffer import KvBuffer
from skipopu.hdl.kv_crossbar import KvCrossbar
from skipopu.hdl.kv_fetch import KvFetch
from skipopu.hdl.kv_forming import KvForming
from skipopu.hdl.kv_lanes import KvLanes
from skipopu.hdl.kv_ring import KvRing
from skipopu.hdl.kv_rounds import KvRounds
from skipopu.hdl.kv_scan import KvScan
from skipopu.hdl.kv_scheduler import KvScheduler
from skipopu.hdl.kv_waiting import KvWaiting

Method = Callable[..., Any]
Replacement = Callable[[Method], Method]  # of the right one


def the_newest_too(_: Method) -> Method:
    def reused(self: KvScan) -> Value:
        o = self.operation
        return o.decode & self.settings.reuse & o.has_next & self.visible & ~self.scan_bits[1]

    return reused


def head_stays(right: Method) -> Method:
    return lambda self, m, name, step: right(self, m, name, Const(0) if name == "head" else step)


def no_losers(right: Method) -> Method:
    def bank(self: KvWaiting, *arguments: Any) -> Value:
        right(self, *arguments)
        return Const(0)  # no port waits

    return bank


def the_other_phase(_: Method) -> Method:
    return lambda self, found: found.held.bit_select(~self.phase, 1)


def never_invalidated(right: Method) -> Method:
    return lambda self, save: right(self, Const(1))


def mask_shifted(right: Method) -> Method:
    return lambda self, m, value, name: right(self, m, value.rotate_left(1) if name == "mask" else value, name)


def a_chunk_late(right: Method) -> Method:
    def delayed(self: KvLanes, m: Module, value: Any, name: str) -> Signal:
        if name.startswith("update"):
            before = Signal(len(value), name=f"{name}_before")
            with m.If(self.enable & self.pop):
                m.d.sync += before.eq(value)
            value = before
        return right(self, m, value, name)

    return delayed


def the_last_sequence_stays(_: Method) -> Method:
    return lambda self, found: found.visible & self.settings.reuse


def one_chunk_less(_: Method) -> Method:
    return lambda self, chunks: chunks < self._shape.kv_chunks


def one_chunk_more(_: Method) -> Method:
    return lambda self, chunks: chunks <= self._shape.kv_chunks + 1


def nobody_waits(_: Method) -> Method:
    return lambda self, current: Const(1)


def value_over_key(_: Method) -> Method:
    return lambda self, chunk: chunk


def always_slot_0(right: Method) -> Method:
    def addresses(self: KvRounds, m: Module, current: Any, chunk: Signal) -> None:
        right(self, m, current, chunk)
        m.d.comb += self.read[0].eq(self._chunk_of_token(chunk))

    return addresses


def reads_free_nothing(right: Method) -> Method:
    return lambda self, m, read, keep: right(self, m, Const(0), keep)


def kept_uncounted(right: Method) -> Method:
    return lambda self, m, read, keep: right(self, m, read, keep & ~read)


def beside_its_place(right: Method) -> Method:
    def elaborate(self: KvCrossbar, platform: Any) -> Module:
        m = right(self, platform)
        m.d.sync += self.write_address.eq(self.update.address ^ 1)
        return m

    return elaborate


def another_lane(right: Method) -> Method:
    def elaborate(self: KvCrossbar, platform: Any) -> Module:
        self._lanes -= 1  # the last one cannot be chosen
        return right(self, platform)

    return elaborate


def the_turn_stays(right: Method) -> Method:
    def window(self: KvWaiting, m: Module) -> Any:
        turn, before = right(self, m)
        with m.If(self.restart):
            m.d.sync += turn.eq(turn)
        return turn, before

    return window


def lost_when_full(right: Method) -> Method:
    def form(self: KvScheduler, m: Module, scan: Any, forming: Any, blocked: Any) -> None:
        right(self, m, scan, forming, blocked)
        m.d.comb += scan.advance.eq(scan.valid & ~(blocked & ~self.rounds_full))

    return form


def the_newest_twice(right: Method) -> Method:
    def form(self: KvScheduler, m: Module, scan: Any, forming: Any, blocked: Any) -> None:
        right(self, m, scan, forming, blocked)
        again, placing = Signal(name="again"), scan.visible & self.operation.executed
        with m.If(forming.put & scan.last):
            m.d.sync += again.eq(~again)
        m.d.comb += scan.advance.eq(scan.valid & Mux(placing, forming.put & (again | ~scan.last), 1))

    return form


def the_last_chunk_does_not_wait(_: Method) -> Method:
    return lambda self: Const(0)


def v_is_announced_too(_: Method) -> Method:
    return lambda self, current: current.executed


def tokens_of_those_that_wait(_: Method) -> Method:
    def tokens(self: KvForming, opened: Any, waiting: Any) -> list[Any]:
        ports = self._shape.ports
        both = [waiting[port] if port < ports else opened[port] for port in range(self._shape.lanes)]
        return [self.formed.tokens[lane].eq(each) for lane, each in enumerate(both)]

    return tokens


def done_a_cycle_late(right: Method) -> Method:
    def operation(self: KvBuffer, m: Module, *arguments: Any) -> None:
        *others, over = arguments
        before = Signal(name="over_before")
        m.d.sync += before.eq(over)
        right(self, m, *others, over & before)

    return operation


def the_row_after_an_odd_one(right: Method) -> Method:
    return lambda self, m, name, parity, pair: right(self, m, name, parity, self.scan_row[1:])


ONE_BANK = ("kv_buffer.ports=1",)  # every kept token wants it
Fault = tuple[type, str, Replacement, tuple[str, ...]]  # and the leaves of the overlay that show it
FAULTS: dict[str, Fault] = {
    "a bank is read at another token's place": (KvRounds, "_addresses", always_slot_0, ()),
}
MORE_FAULTS: dict[str, Fault] = {
    "a token is lost while the round queue is full": (KvScheduler, "_form", lost_when_full, ()),
    "the end is guessed": (KvRounds, "_unknown", the_last_chunk_does_not_wait, ()),
    "V is announced, too": (KvBuffer, "_told", v_is_announced_too, ()),
    "the open round has the tokens of the queues": (KvForming, "_tokens", tokens_of_those_that_wait, ()),
    "the newest token is kept": (KvScan, "_reused", the_newest_too, ()),
    "the newest token comes twice": (KvScheduler, "_form", the_newest_twice, ()),
    "the ring's head does not advance": (KvRing, "_pointer", head_stays, ()),
    "a read makes no room in the ring": (KvRing, "_count", reads_free_nothing, ()),
    "a token that is read and kept leaves the ring": (KvRing, "_count", kept_uncounted, ()),
    "the crossbar writes beside its place": (KvCrossbar, "elaborate", beside_its_place, ()),
    "the crossbar does not reach the last bank": (KvCrossbar, "elaborate", another_lane, ()),
    "V's window of ports begins where K's ended": (KvWaiting, "_window", the_turn_stays, ONE_BANK),
    "two tokens of a round are kept in one bank": (KvWaiting, "_bank", no_losers, ONE_BANK),
    "the held bit of the other phase is read": (KvScan, "_held", the_other_phase, ()),
    "a layer whose query skips leaves the buffer valid": (KvBuffer, "_valid_after", never_invalidated, ()),
    "an operation is over a cycle late": (KvBuffer, "_operation", done_a_cycle_late, ()),
    "the mask is shifted": (KvLanes, "_delayed", mask_shifted, ()),
    "a bank is updated a chunk late": (KvLanes, "_delayed", a_chunk_late, ()),
    "the table outlives the first layer": (KvScan, "_was_visible", the_last_sequence_stays, ()),
    "the row after an odd one is the one before": (Bitmask, "_memory", the_row_after_an_odd_one, ()),
    "a credit is lost": (KvFetch, "_fits", one_chunk_less, ()),
    "there is a credit too many": (KvFetch, "_fits", one_chunk_more, ()),
    "a round goes before all its chunks are there": (KvRounds, "_there", nobody_waits, ()),
    "V overwrites K in its bank": (KvRounds, "_chunk_of_token", value_over_key, ()),
}
