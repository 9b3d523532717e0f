"""KV waiting queues: tokens wait at their ports while the invariance buffer is invalid; rounds take the heads."""

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.fifo import Fifo
from skipopu.hdl.kv_layout import KvShape, index, place_layout
from skipopu.hdl.verilog import Block, place


def waiting_layout(shape: KvShape) -> data.StructLayout:
    """A token that waits: whether it is kept, and where; its number in the sequence."""
    return data.StructLayout({"keep": 1, "place": place_layout(shape), "number": index(shape.tokens)})


def queued_round_layout(shape: KvShape) -> data.StructLayout:
    """A round that reads no bank: its HBM ports, what each bank keeps where, and each port's token."""
    bank = data.StructLayout({"keep": 1, "source": index(shape.ports), "write": index(shape.bank_chunks)})
    banks, tokens = data.ArrayLayout(bank, shape.banks), data.ArrayLayout(index(shape.tokens), shape.ports)
    return data.StructLayout({"mask": shape.ports, "banks": banks, "tokens": tokens})


class KvWaiting(Block):
    """A queue a port; a round takes the heads of a window of ports, of those kept in one bank only the first.

    The window begins a port later with every round, so that no head waits for ever.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    restart : in, the window begins at port 0 again
    push, token : in, a bit a port: the token waits there; never while ``full``
    full : out, a bit a port
    empty : out, no token waits
    formed : out, the round that could be formed
    take : in, form it: its heads leave, the window moves on

    Timing
    ------
    ``formed`` in the same cycle; a token pushed in cycle t can be part of it in t + 1.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        ports = shape.ports
        super().__init__({
            "restart": In(1), "push": In(ports), "token": In(waiting_layout(shape)), "full": Out(ports),
            "empty": Out(1), "formed": Out(queued_round_layout(shape)), "take": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Queues, the window, and for every bank the first that wants it."""
        m = Module()
        ports = range(self._shape.ports)
        occupied, going = Signal(len(ports), name="occupied"), Signal(len(ports), name="going")
        heads = [self._queue(m, port, occupied, going) for port in ports]
        turn, before = self._window(m)
        there = Signal(len(ports), name="there")
        m.d.comb += [
            there.eq(occupied & self._in_window(m, turn)), self.empty.eq(occupied == 0), self.formed.mask.eq(going),
        ]  # fmt: skip
        lost = Signal(len(ports), name="lost_bank")
        losers = [self._bank(m, bank, heads, there, before) for bank in range(self._shape.banks)]
        m.d.comb += [lost.eq(reduce(or_, losers, Const(0))), going.eq(there & ~lost)]
        return m

    def _queue(self, m: Module, port: int, occupied: Signal, going: Signal) -> Any:
        layout = waiting_layout(self._shape)
        queue = place(m, f"queue{port}", Fifo(bits=layout.size, depth=self._shape.queue_depth))
        m.d.comb += [
            queue.write.eq(self.push[port]), queue.write_data.eq(self.token), queue.read.eq(self.take & going[port]),
            self.full[port].eq(queue.full), occupied[port].eq(~queue.empty),
        ]  # fmt: skip
        head = Signal(layout, name=f"head{port}")
        m.d.comb += [head.eq(queue.head), self.formed.tokens[port].eq(head.number)]
        return head

    def _window(self, m: Module) -> tuple[Signal, Value]:
        """The port it begins at, and the ports before that: they come last."""
        ports = self._shape.ports
        turn, before = Signal(index(ports), name="turn"), Signal(ports, name="before_turn")
        with m.If(self.restart):
            m.d.sync += turn.eq(0)
        with m.Elif(self.take):
            m.d.sync += turn.eq(Mux(turn == ports - 1, 0, turn + 1))
        m.d.comb += before.eq((1 << turn) - 1)
        return turn, before

    def _in_window(self, m: Module, turn: Signal) -> Signal:
        """A round's most tokens from ``turn`` on, modulo the ports."""
        ports, window = self._shape.ports, Signal(self._shape.ports, name="window")
        size = min(ports, self._shape.round_tokens)
        with m.Switch(turn):
            for first in range(ports):
                with m.Case(first):
                    m.d.comb += window.eq(sum(1 << (first + step) % ports for step in range(size)))
        return window

    def _bank(self, m: Module, bank: int, heads: list[Any], there: Value, before: Value) -> Value:
        """The first port that keeps its head in this bank has it; return the others, which wait."""
        wanted = Signal(len(heads), name=f"bank{bank}_wanted")
        first = Signal(len(heads), name=f"bank{bank}_first")
        from_turn = wanted & ~before
        chosen = Mux(from_turn.any(), from_turn, wanted)
        each = self.formed.banks[bank]
        m.d.comb += [
            wanted.eq(there & Cat(head.keep & (head.place.bank == bank) for head in heads)),
            first.eq(chosen & -chosen), each.keep.eq(wanted.any()),
        ]  # fmt: skip
        for port, head in enumerate(heads):
            with m.If(first[port]):
                m.d.comb += [each.source.eq(port), each.write.eq(head.place.chunk)]
        return wanted & ~first
