"""What all engines share: an in-order queue whose head begins when its semaphores are met, and retirement."""

from skipopu.numerics.jit import jit
from skipopu.program.isa import ENGINES, INSTRUCTION_BYTES
from skipopu.sim.machine import MAX_QUEUE, Machine
from skipopu.spec.ledger import Phase

ENGINE_COUNT = len(ENGINES)
assert INSTRUCTION_BYTES == 32


@jit
def head(m: Machine, engine: int) -> int:
    """Return the instruction at the head of the engine's queue, −1 where there is none past dispatch yet."""
    e = m.engines[engine]
    if e.head == e.tail or e.ready[e.head % MAX_QUEUE] > m.total.now:
        return -1
    return e.queue[e.head % MAX_QUEUE]  # type: ignore[no-any-return]


@jit
def begin(m: Machine, engine: int) -> int:
    """Return the instruction the engine works on in this cycle, −1 if none; takes its semaphores once, all together."""
    e = m.engines[engine]
    e.blocked = 0
    instruction = head(m, engine)
    if instruction < 0 or e.running:
        return instruction
    if not e.seen:
        e.seen = 1
        m.issue[instruction] = m.total.now
    wait = m.work.wait[instruction]
    for source in range(ENGINE_COUNT):
        if wait >> source & 1 and m.semaphores[source, engine] == 0:
            e.blocked = 1
            return -1
    for source in range(ENGINE_COUNT):
        if wait >> source & 1:
            m.semaphores[source, engine] -= 1
    e.running = 1
    m.first[instruction] = m.total.now
    return instruction


@jit
def leave_queue(m: Machine, engine: int) -> None:
    """Free the head of the queue for the next instruction."""
    e = m.engines[engine]
    e.head += 1
    e.running = 0
    e.seen = 0


@jit
def retire(m: Machine, engine: int, instruction: int) -> None:
    """Note the instruction's last cycle and give its signals; others see them from the next cycle on."""
    t = m.total
    m.last[instruction] = t.now
    signal = m.work.signal[instruction]
    for target in range(ENGINE_COUNT):
        if signal >> target & 1:
            m.given[engine, target] += 1
    m.step_end[m.work.step[instruction]] = t.now
    t.retired += 1
    t.progress = t.now
    if m.work.phase[instruction] == Phase.PREFILL:
        t.left_of_prefill -= 1


@jit
def commit(m: Machine) -> None:
    """End of cycle: signals become visible."""
    for source in range(ENGINE_COUNT):
        for target in range(ENGINE_COUNT):
            m.semaphores[source, target] += m.given[source, target]
            m.given[source, target] = 0
