"""Instruction check: may the sequencer dispatch this instruction? The rules of `program.instruction_check`."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INDEX_BITS, INSTRUCTION, INSTRUCTION_BITS
from skipopu.hdl.pipeline import named
from skipopu.hdl.semaphore_check import SemaphoreCheck
from skipopu.hdl.status import STATUS, report
from skipopu.hdl.verilog import Block, place
from skipopu.program.instruction_check import LENGTH_MULTIPLES, address_multiples, highest_values, most_signals
from skipopu.program.isa import COLUMN, ENGINE_OF, ENGINES, NAMES, PLACES, WIDTH, WORD_BITS, Opcode
from skipopu.program.status import Condition
from skipopu.spec.ker_shape import LOGITS
from skipopu.spec.overlay import Overlay


class InstructionCheck(Block):
    """Find the engine of an instruction and what is wrong with it.

    Parameters
    ----------
    overlay : clock.hbm_ratio, npe.gelu, sequencer.queue_depth

    Ports
    -----
    start : in, a program begins
    instruction, index, last : in, the instruction, its number, whether it is the program's last; ``count`` : in
    engine : out, a bit an engine · halt : out, it is HALT
    fault : out, STATUS; code OK: nothing is wrong
    dispatched : in, the instruction is dispatched: its signals and waits are counted

    Timing
    ------
    All outputs in the cycle of the instruction; what is counted shows in the next.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._multiples, self._most = address_multiples(overlay), most_signals(overlay)
        self._highest = highest_values(overlay)
        super().__init__({
            "start": In(1), "instruction": In(INSTRUCTION), "index": In(INDEX_BITS), "last": In(1),
            "count": In(INDEX_BITS), "engine": Out(len(ENGINES)), "halt": Out(1), "fault": Out(STATUS),
            "dispatched": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Faults in the order of their codes."""
        m = Module()
        opcode = self.instruction.opcode
        m.d.comb += self.halt.eq(opcode == Opcode.HALT)
        for engine, block in enumerate(ENGINES):
            mine = [opcode == op for op, its in ENGINE_OF.items() if its == block]
            m.d.comb += self.engine[engine].eq(Cat(*mine).any())
        semaphores = self._semaphores(m)
        illegal, field = self._illegal(m)
        address = self._past(m, "address", self._multiples)
        length = self._past(m, "columns", LENGTH_MULTIPLES)
        with m.If(opcode > max(Opcode)):
            self._report(m, Condition.ILLEGAL_OPCODE, opcode=opcode)
        with m.Elif((Value.cast(self.instruction) & Const(_reserved(), INSTRUCTION_BITS)).any()):
            self._report(m, Condition.RESERVED_BITS)
        with m.Elif(illegal):
            self._report(m, Condition.ILLEGAL_FIELD, opcode=opcode, **field)
        with m.Elif(address["past"].any()):
            self._report(m, Condition.MISALIGNED_ADDRESS, opcode=opcode, **address)
        with m.Elif(length["past"].any()):
            self._report(m, Condition.MISALIGNED_LENGTH, opcode=opcode, **length)
        with m.Elif(self.halt & ~self.last):
            self._report(m, Condition.EARLY_HALT, last=self.count - 1)
        with m.Elif(~self.halt & self.last):
            self._report(m, Condition.NO_HALT)
        with m.Elif(semaphores.fault.code != Condition.OK):
            m.d.comb += [self.fault.eq(semaphores.fault), self.fault.index.eq(self.index)]
        return m

    def _report(self, m: Module, code: Condition, **fields: Any) -> None:
        m.d.comb += report(self.fault, code, self.index, **fields)

    def _illegal(self, m: Module) -> tuple[Signal, dict[str, Signal]]:
        """Return whether a field has a value that means nothing; the first such field, and the value."""
        i = self.instruction
        bad = {name: self._is_above(i[name], most) for name, most in self._highest.items()}
        logits = Cat(*(i.columns == count for count in LOGITS)).any()
        bad["columns"] = (i.opcode == Opcode.ROUTE) & ~(logits | (i.normalize & (i.columns == 0)))
        field, value = Signal(range(len(NAMES)), name="illegal_field"), Signal(WIDTH["columns"], name="illegal_value")
        for name, illegal in reversed(bad.items()):
            with m.If(illegal):
                m.d.comb += [field.eq(COLUMN[name]), value.eq(i[name])]
        return named(m, Cat(*bad.values()).any(), "illegal"), {"field": field, "value": value}

    def _is_above(self, value: Value, most: int) -> Value:
        return value > most

    def _past(self, m: Module, name: str, multiples: dict[Opcode, int]) -> dict[str, Signal]:
        """Units of a field past a multiple of what the opcode asks for, and that."""
        most = max(multiples.values())
        past, multiple = Signal(range(most), name=f"{name}_past"), Signal(range(most + 1), name=f"{name}_multiple")
        with m.Switch(self.instruction.opcode):
            for opcode, units in multiples.items():
                with m.Case(opcode):
                    m.d.comb += [past.eq(self._remainder(self.instruction[name], units)), multiple.eq(units)]
        return {"past": past, "multiple": multiple}

    def _remainder(self, value: Value, units: int) -> Value:
        return value % units

    def _semaphores(self, m: Module) -> Any:
        check = place(m, "semaphores", SemaphoreCheck(most=self._most))
        mine = self.engine
        m.d.comb += [
            check.start.eq(self.start), check.engine.eq(mine), check.wait.eq(self.instruction.wait),
            check.signal.eq(self.instruction.signal), check.ends.eq(self.halt), check.dispatched.eq(self.dispatched),
        ]  # fmt: skip
        return check


def _reserved() -> int:
    """Bits of an instruction that no field has."""
    used = sum(((1 << width) - 1) << word * WORD_BITS + shift for word, shift, width in PLACES)
    return ((1 << INSTRUCTION_BITS) - 1) ^ used
