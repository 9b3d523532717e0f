"""PSUM: partial sums in two halves. One takes the sums of a column block while the other leaves row by row."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.psum_half import PsumHalf
from skipopu.hdl.verilog import Block, place

HALVES = 2


def entry_layout(entries: int) -> data.StructLayout:
    """Where a sum belongs: half, address, and whether it is the first there."""
    return data.StructLayout({"half": 1, "address": range(entries), "first": 1})


def result_layout(entry_bits: int) -> data.StructLayout:
    """An entry on its way out; ``last`` marks the last one of its column block, ``end`` of its operation."""
    return data.StructLayout({"sums": entry_bits, "last": 1, "end": 1})


class Psum(Block):
    """Entries of all columns' partial sums, read for accumulation, written back, and drained in order.

    Parameters
    ----------
    entries : of a half
    entry_bits : all columns' sums

    Ports
    -----
    open (1) : in, the first row of a column block is issued
    close (1), close_half, close_entries, close_end : in, its last row is issued; its half, the entries that it will
        leave, and whether it is the operation's last one
    free : out, a column block may open
    half : out, the half it will have
    read : in, entry of the sum that reaches the adders in the next cycle
    partial : out, what it is added to, in that next cycle; 0 when ``read.first``
    write, write_valid, write_last : in, entry to be written; the last of its column block
    write_data : in
    results : out, stream of entries in ascending address, oldest column block first

    Timing
    ------
    A sum can be read for accumulation in the very cycle it is written; it can leave two cycles after. Entries leave one
    a cycle. A half is free from the cycle after its last entry was taken.
    """

    def __init__(self, *, entries: int, entry_bits: int) -> None:
        self._entries, self._bits = entries, entry_bits
        entry = entry_layout(entries)
        super().__init__({
            "open": In(1), "free": Out(1), "half": Out(1),
            "close": In(1), "close_half": In(1), "close_entries": In(range(entries + 1)), "close_end": In(1),
            "read": In(entry), "partial": Out(entry_bits),
            "write": In(entry), "write_valid": In(1), "write_last": In(1), "write_data": In(entry_bits),
            "results": Out(stream.Signature(result_layout(entry_bits))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Two memories, each with a write port and a read port that accumulation and drain use in turn."""
        m = Module()
        closed = Signal(HALVES, name="closed")
        fetch, address = Signal(HALVES, name="fetch"), Signal(range(self._entries), name="drain_address")
        outputs = [self._memory(m, half, closed[half], fetch[half], address) for half in range(HALVES)]
        self._accumulate(m, outputs)
        left = self._drain(m, outputs, closed, fetch, address)
        self._blocks(m, closed, left)
        return m

    def _memory(self, m: Module, half: int, closed: Value, fetch: Value, address: Value) -> Value:
        """A half: accumulation reads it while its column block is open, the drain when it is closed."""
        memory = place(m, f"half{half}", PsumHalf(entries=self._entries, entry_bits=self._bits))
        m.d.comb += [
            memory.write_address.eq(self.write.address), memory.write_data.eq(self.write_data),
            memory.write.eq(self.write_valid & (self.write.half == half)),
            memory.read_address.eq(Mux(closed, address, self.read.address)), memory.read.eq(~closed | fetch),
        ]  # fmt: skip
        data: Value = memory.read_data
        return data

    def _accumulate(self, m: Module, outputs: list[Value]) -> None:
        half, first = Signal(name="partial_half"), Signal(name="partial_first")
        m.d.sync += [half.eq(self.read.half), first.eq(self.read.first)]
        m.d.comb += self.partial.eq(Mux(first, 0, Mux(half, outputs[1], outputs[0])))

    def _blocks(self, m: Module, closed: Signal, left: Value) -> None:
        """A half is taken from the first row of its column block until its last entry has left."""
        taken, shown = Signal(HALVES, name="taken"), Signal(name="leaving_half")
        m.d.comb += self.free.eq(~taken.bit_select(self.half, 1))
        with m.If(self.open):
            m.d.sync += [taken.bit_select(self.half, 1).eq(1), self.half.eq(self._other(self.half))]
        with m.If(self.write_valid & self.write_last):
            m.d.sync += closed.bit_select(self.write.half, 1).eq(1)
        with m.If(left):
            m.d.sync += [
                taken.bit_select(shown, 1).eq(0), closed.bit_select(shown, 1).eq(0), shown.eq(self._other(shown))
            ]  # fmt: skip

    def _other(self, half: Value) -> Value:
        return ~half

    def _drain(self, m: Module, outputs: list[Value], closed: Signal, fetch: Signal, address: Signal) -> Value:
        """Read ahead one entry; return the cycle in which the last one of a block is taken."""
        entries = [Signal(range(self._entries + 1), name=f"entries{half}") for half in range(HALVES)]
        ends = Signal(HALVES, name="ends")
        half, shown, ahead, last = (Signal(name=n) for n in ("fetch_half", "shown_half", "ahead", "last"))
        end, taken, going = Signal(name="last_of_all"), Signal(name="result_taken"), Signal(name="fetching")
        at_end = address == Mux(half, entries[1], entries[0]) - 1
        m.d.comb += [
            taken.eq(self.results.valid & self.results.ready),
            going.eq(closed.bit_select(half, 1) & (~ahead | taken)),
            fetch.eq(Cat(going & ~half, going & half)),
            self.results.valid.eq(ahead), self.results.payload.last.eq(last),
            self.results.payload.end.eq(end),
            self.results.payload.sums.eq(Mux(shown, outputs[1], outputs[0])),
        ]  # fmt: skip
        m.d.sync += ahead.eq(going | (ahead & ~taken))
        for index, each in enumerate(entries):
            with m.If(self.close & (self.close_half == index)):
                m.d.sync += [each.eq(self.close_entries), ends[index].eq(self.close_end)]
        with m.If(going):
            m.d.sync += [
                shown.eq(half), last.eq(at_end), end.eq(at_end & ends.bit_select(half, 1)),
                address.eq(Mux(at_end, 0, address + 1)),
            ]  # fmt: skip
            with m.If(at_end):
                m.d.sync += half.eq(self._other(half))
        return taken & last
