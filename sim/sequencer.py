"""Sequencer: fetches instructions from DDR4 in bursts and dispatches one a cycle to the engines' queues."""

from skipopu.numerics.jit import jit
from skipopu.program.isa import INSTRUCTION_BYTES, Opcode
from skipopu.sim import causes
from skipopu.sim.ddr_port import FETCH, ask_read, may_read
from skipopu.sim.machine import HISTORY, MAX_QUEUE, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES

HALT = int(Opcode.HALT)
BURST_INSTRUCTIONS = AXI3_BURST_BEATS * DDR_BEAT_BYTES // INSTRUCTION_BYTES
BEAT_INSTRUCTIONS = DDR_BEAT_BYTES // INSTRUCTION_BYTES


@jit
def sequencer(m: Machine) -> None:
    """One cycle: request a burst if there is room, dispatch a fetched instruction if its queue has room."""
    s, now = m.sequencer, m.total.now
    s.history[now % HISTORY] = s.fetched_beats
    fetched = s.history[(now - m.p.crossing_stages) % HISTORY] * BEAT_INSTRUCTIONS
    s.cause, s.waits = causes.IDLE, 0
    if s.halted:
        return
    _fetch(m)
    if s.next >= min(fetched, len(m.work)):
        s.cause = causes.DDR
        return
    s.waits = now < m.work[s.next].arrival
    if s.waits:
        return
    if now == m.work[s.next].arrival:
        m.total.progress = now
    engine = m.work[s.next].engine
    if m.work[s.next].opcode == HALT:
        s.halted = 1
        m.work[s.next].issue = m.work[s.next].first = m.work[s.next].last = now
        m.total.retired += 1
        s.cause = causes.BUSY
        return
    e = m.engines
    if _level(m, engine) >= m.p.queue_depth:
        s.cause = causes.BACKPRESSURE
        return
    place = e.tail[engine] % MAX_QUEUE
    e.queue[engine, place] = s.next
    e.ready[engine, place] = now + m.p.dispatch_stages
    e.tail[engine] += 1
    s.next += 1
    s.cause = causes.BUSY


@jit
def _level(m: Machine, engine: int) -> int:
    """Instructions of a queue as the cycle began: one that left in it still counts."""
    e = m.engines
    return e.tail[engine] - e.head[engine] + (e.left[engine] == m.total.now)  # type: ignore[no-any-return]


@jit
def _fetch(m: Machine) -> None:
    """Ask for a burst of instructions; it lies in the first channel alone, so that it comes in order."""
    s, p = m.sequencer, m.p
    left = len(m.work) - s.requested
    if left <= 0 or s.requested + BURST_INSTRUCTIONS - s.next > p.fetch_instructions:
        return
    if not may_read(m, 0):
        return
    count = min(left, BURST_INSTRUCTIONS)
    beats = (count + BEAT_INSTRUCTIONS - 1) // BEAT_INSTRUCTIONS
    address = p.program_address // p.ddr_channels + s.requested * INSTRUCTION_BYTES
    phase = m.work[s.requested].phase
    ask_read(m, 0, address, beats, FETCH)
    m.counts.traffic[phase, Traffic.INSTRUCTIONS] += beats * DDR_BEAT_BYTES
    m.counts.window[Traffic.INSTRUCTIONS] += beats * DDR_BEAT_BYTES
    s.requested += count
