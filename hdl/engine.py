"""What an engine sees of its queue, and what it asks about the rows that its instruction works on."""

from typing import Any

from amaranth.hdl import Mux, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.program.isa import Gate
from skipopu.spec.ledger import Cause

# see EngineQueue, and RowList for the lookup; rounds are those of the last SCORES
ENGINE_PORTS = {
    "head": In(INSTRUCTION), "begins": In(1), "running": In(1), "blocked": In(1), "leave": Out(1),
    "list_gate": Out(range(len(Gate))), "list_mask": Out(1), "executed": In(ROW_BITS), "rounds": In(TILE_BITS),
    "cause": Out(range(len(Cause))),
}  # fmt: skip


def executed_rows(engine: Any) -> Value:
    """Rows of the block that the head's gate lets through."""
    rows: Value = Mux(engine.head.gate == Gate.ALL, engine.head.rows, engine.executed)
    return rows


def waiting_cause(engine: Any) -> Value:
    """Cause of a cycle without an instruction at work."""
    return Mux(engine.blocked, Cause.SEMAPHORE, Cause.IDLE)
