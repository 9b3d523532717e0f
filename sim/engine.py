"""What all engines share: an in-order queue whose head begins when its semaphores are met, and retirement."""

from skipopu.numerics.jit import jit
from skipopu.program.isa import ENGINES
from skipopu.sim.machine import MAX_QUEUE, Machine, Record
from skipopu.sim.work import Work
from skipopu.spec.ledger import Phase

ENGINE_COUNT = len(ENGINES)


@jit
def begin(m: Machine, engine: int) -> int:
    """Return the instruction the engine works on in this cycle or −1; takes all its semaphores at once."""
    e = m.engines
    e.blocked[engine] = 0
    place = e.head[engine] % MAX_QUEUE
    if e.running[engine]:
        return e.queue[engine, place]  # type: ignore[no-any-return]
    if e.head[engine] == e.tail[engine] or e.ready[engine, place] > m.total.now:
        return -1
    return _try_to_begin(e, m.work, m.total.now, engine)


@jit
def _try_to_begin(e: Record, work: Work, now: int, engine: int) -> int:
    instruction = e.queue[engine, e.head[engine] % MAX_QUEUE]
    if not e.seen[engine]:
        e.seen[engine] = 1
        work[instruction].issue = now
    wait = work[instruction].wait
    for source in range(ENGINE_COUNT):
        if wait >> source & 1 and e.semaphore[source, engine] == 0:
            e.blocked[engine] = 1
            return -1
    for source in range(ENGINE_COUNT):
        if wait >> source & 1:
            e.semaphore[source, engine] -= 1
    e.running[engine] = 1
    work[instruction].first = now
    return instruction  # type: ignore[no-any-return]


@jit
def leave_queue(m: Machine, engine: int) -> None:
    """Free the head of the queue for the next instruction; the sequencer sees the room in the next cycle."""
    e = m.engines
    e.head[engine] += 1
    e.left[engine] = m.total.now
    e.running[engine] = 0
    e.seen[engine] = 0


@jit
def retire(m: Machine, engine: int, instruction: int) -> None:
    """Note the instruction's last cycle and give its signals; others see them from the next cycle on."""
    t = m.total
    m.work[instruction].last = t.now
    signal = m.work[instruction].signal
    for target in range(ENGINE_COUNT):
        if signal >> target & 1:
            m.engines.given[engine, target] += 1
            m.engines.signalled = 1
    t.retired += 1
    t.progress = t.now
    if m.work[instruction].phase == Phase.PREFILL:
        t.left_of_prefill -= 1


@jit
def commit(m: Machine) -> None:
    """End of cycle: signals become visible."""
    e = m.engines
    if not e.signalled:
        return
    e.signalled = 0
    for source in range(ENGINE_COUNT):
        for target in range(ENGINE_COUNT):
            e.semaphore[source, target] += e.given[source, target]
            e.given[source, target] = 0
