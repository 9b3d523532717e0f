"""KV ring: where in the banks the next kept token goes, and where the next one is read."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import VECTOR_BITS, KvShape, index, place_layout, slots
from skipopu.hdl.verilog import Block


class KvRing(Block):
    """Tokens of the invariance buffer as a ring, striped over its banks: neighbours lie in different banks.

    Parameters
    ----------
    shape : sizes of the KV buffer; it has a bank at least

    Ports
    -----
    vector, bank_slots : in, chunks of a K vector, tokens a bank holds: not more than fit, with their V
    start : in, an operation begins · resume : in, with what was saved, else with an empty ring
    read, keep : in, a token is read from the head, one is kept behind the last
    save : in, the next layer resumes here
    head, tail : out, places of the next token read, of the next one kept
    room : out, a token can be kept · room_after_read : out, it can if the head is read in the same cycle

    Timing
    ------
    Outputs follow at the end of the cycle; ``start`` and ``save`` never come with ``read`` or ``keep``.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        place = place_layout(shape)
        super().__init__({
            "vector": In(VECTOR_BITS), "bank_slots": In(slots(shape)), "start": In(1), "resume": In(1),
            "read": In(1), "keep": In(1), "save": In(1), "head": Out(place), "tail": Out(place),
            "room": Out(1), "room_after_read": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Two pointers and the tokens between them; a copy of all three."""
        m = Module()
        head, tail = self._pointer(m, "head", self.read), self._pointer(m, "tail", self.keep)
        held = self._count(m, self.read, self.keep)
        capacity = self.bank_slots * self._shape.banks
        m.d.comb += [
            self.head.eq(Cat(*head[:2])), self.tail.eq(Cat(*tail[:2])),
            self.room.eq(held < capacity), self.room_after_read.eq(held <= capacity),
        ]  # fmt: skip
        self._saved(m, [*head, *tail, held])
        return m

    def _count(self, m: Module, read: Value, keep: Value) -> Signal:
        """Tokens in the ring; a read and a keep in one cycle leave as many."""
        held = Signal(range(self._shape.banks * (self._shape.bank_chunks // 2) + 1), name="held")
        with m.If(read ^ keep):
            m.d.sync += held.eq(Mux(keep, held + 1, held - 1))
        return held

    def _pointer(self, m: Module, name: str, step: Value) -> list[Signal]:
        """Bank, first chunk and slot; the next slot after the last bank, the first slot after the last."""
        bank = Signal(index(self._shape.banks), name=f"{name}_bank")
        slot = Signal(slots(self._shape), name=f"{name}_slot")
        chunk = Signal(index(self._shape.bank_chunks), name=f"{name}_chunk")
        last_bank, last_slot = bank == self._shape.banks - 1, slot == self.bank_slots - 1
        with m.If(step):
            m.d.sync += bank.eq(Mux(last_bank, 0, bank + 1))
            with m.If(last_bank):
                m.d.sync += [
                    slot.eq(Mux(last_slot, 0, slot + 1)), chunk.eq(Mux(last_slot, 0, chunk + 2 * self.vector))
                ]  # fmt: skip
        return [bank, chunk, slot]

    def _saved(self, m: Module, registers: list[Signal]) -> None:
        for register in registers:
            saved = Signal.like(register, name=f"saved_{register.name}")
            with m.If(self.save):
                m.d.sync += saved.eq(register)
            with m.If(self.start):
                m.d.sync += register.eq(Mux(self.resume, saved, 0))
