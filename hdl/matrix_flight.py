"""Matrix flight: operations that the PE array has taken, until their results are written and they retire in order."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.engine_queue import RECORD
from skipopu.hdl.fifo import Fifo
from skipopu.hdl.instruction import CYCLE_BITS
from skipopu.hdl.matrix_stages import most_stages
from skipopu.hdl.pipeline import named
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import IN_FLIGHT, Overlay

SLOT = range(IN_FLIGHT)


class MatrixFlight(Block):
    """A place for each operation; from its last word, or its last row without a product, a countdown to its end.

    Parameters
    ----------
    overlay : its latencies

    Ports
    -----
    start (1), record, stages : in, an operation begins: what its queue says of it, cycles from its last word to its end
    empty (1) : in, with ``start``: no row executes; it is over at once
    now : in, cycle: the operation's ``first``
    slot : out, the place that an operation gets in this cycle
    word_last, row_last (1), word_slot : in, the last word of the operation at ``word_slot`` goes; the last row of the
        operation that began last is issued, and nothing was multiplied
    retire (1), retired : out, an operation ends; its record
    full, none (1) : out, beside those that retire in this cycle there are as many as there can be, or none

    Timing
    ------
    Retires ``stages`` cycles after its last word or row, at least 1 of them; an empty one the cycle after its start.
    One a cycle, in the order of their starts.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._stages = range(most_stages(overlay) + 1)
        super().__init__({
            "start": In(1), "record": In(RECORD), "stages": In(self._stages), "empty": In(1), "now": In(CYCLE_BITS),
            "slot": Out(SLOT), "word_last": In(1), "word_slot": In(SLOT), "row_last": In(1),
            "retire": Out(1), "retired": Out(RECORD), "full": Out(1), "none": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Records in a queue, a countdown a place."""
        m = Module()
        records = self._records(m)
        oldest, newest = Signal(SLOT, name="oldest"), Signal(SLOT, name="newest")
        count = Signal(range(IN_FLIGHT + 1), name="count")
        m.d.sync += [count.eq(count + self.start - self.retire), oldest.eq(oldest + self.retire)]
        with m.If(self.start):
            m.d.sync += [self.slot.eq(self.slot + 1), newest.eq(self.slot)]
        over = Signal(IN_FLIGHT, name="over")
        for slot in range(IN_FLIGHT):
            row = named(m, self.row_last & (newest == slot), f"row_last{slot}")
            word = named(m, self.word_last & (self.word_slot == slot), f"word_last{slot}")
            m.d.comb += over[slot].eq(self._countdown(m, slot, named(m, row | word, f"ends{slot}")))
        left = named(m, count - self.retire, "left", range(IN_FLIGHT + 1))
        m.d.comb += [
            self.retire.eq(count.any() & over.bit_select(oldest, 1)), self.retired.eq(records),
            self.full.eq(left == IN_FLIGHT), self.none.eq(left == 0),
        ]  # fmt: skip
        return m

    def _records(self, m: Module) -> Any:
        """In the order of their starts, which is that of their ends."""
        queue, record = place(m, "records", Fifo(bits=RECORD.size, depth=IN_FLIGHT)), Signal(RECORD, name="begun")
        m.d.comb += [
            record.eq(self.record), record.first.eq(self.now), queue.write_data.eq(record),
            queue.write.eq(self.start), queue.read.eq(self.retire),
        ]  # fmt: skip
        return queue.head

    def _countdown(self, m: Module, slot: int, ends: Value) -> Value:
        """Return whether the operation at this place is over; it stays so until the next one gets the place."""
        counting, left = Signal(name=f"counting{slot}"), Signal(self._stages, name=f"left{slot}")
        over = named(m, counting & (left == 0), f"over{slot}")
        with m.If((ends | counting) & ~over):
            m.d.sync += [counting.eq(1), left.eq(left - 1)]
        with m.If(self.start & (self.slot == slot)):
            m.d.sync += [counting.eq(self.empty), left.eq(self._cycles())]
        return over

    def _cycles(self) -> Value:
        """From the last word or row to the end."""
        return Mux(self.empty, 0, self.stages)
