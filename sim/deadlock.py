"""Says what a machine that does not move is waiting for."""

from skipopu.program.isa import ENGINES, Opcode
from skipopu.sim.machine import MAX_QUEUE, Machine
from skipopu.spec.ledger import Cause

RECORD_OF_ENGINE = ("dma", "load", "store", "kv", "append", "pe")


def blocked_instructions(m: Machine) -> list[str]:
    """Return one line for each engine with work, and one for the sequencer if it has not halted."""
    lines = [line for engine in range(len(ENGINES)) if (line := _engine_line(m, engine))]
    if not m.sequencer.halted:
        index = int(m.sequencer.next)
        lines.append(f"sequencer at instruction {index} waits for {Cause(int(m.sequencer.cause)).label}")
    return lines or ["no engine has an instruction"]


def _engine_line(m: Machine, engine: int) -> str:
    e = m.engines
    if e.head[engine] == e.tail[engine]:
        return ""
    index = int(e.queue[engine, e.head[engine] % MAX_QUEUE])
    name = f"{ENGINES[engine].label}: instruction {index} ({Opcode(int(m.work[index].opcode)).name.lower()})"
    if not e.running[engine]:
        wait = m.work[index].wait
        missing = [s for s in range(len(ENGINES)) if wait >> s & 1 and e.semaphore[s, engine] == 0]
        waits = ", ".join(f"{ENGINES[s].label}→{ENGINES[engine].label}" for s in missing)
        return f"{name} waits for semaphore {waits}"
    cause = Cause(int(getattr(m, RECORD_OF_ENGINE[engine]).cause))
    return f"{name} waits for {cause.label}"

