"""DMA: the weight stream. Bursts to every HBM port, a chunk FIFO a port, all ports popped together.

Also the ports' clock crossing: `arrive` counts beats as the memory delivers them, `visible` is what the core
sees `dma.crossing_stages` cycles later.
"""

from skipopu.numerics.jit import jit
from skipopu.program.memory_map import ADDRESS_UNIT
from skipopu.sim import causes
from skipopu.sim.dram import free_slots, push, run_of_beats, tick
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.machine import FAR, HISTORY, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import BOUNDARY, HBM_BEAT_BYTES

ENGINE = 0
WEIGHTS, KV = 0, 1  # tags of the bursts
SHIFT, MASK = 16, 0xFFFF  # two counts in one integer


@jit
def arrive(m: Machine) -> None:
    """Advance HBM by the ticks of a core cycle and note what arrived; it sleeps until its next wake tick."""
    ports, p, t = m.ports, m.p, m.total
    now = t.now * p.hbm_ratio
    m.dma.beats = 0
    kv_beats = 0
    if t.hbm_wake < now + p.hbm_ratio:
        t.hbm_wake = FAR
        for port in range(p.ports):
            found = _beats(m, port, now)
            weights, kv = found & MASK, found >> SHIFT
            ports.weight_beats[port] += weights
            ports.kv_beats[port] += kv
            m.dma.beats += weights
            kv_beats += kv
            t.hbm_wake = min(t.hbm_wake, m.hbm.channels[port].wake)
    if m.dma.beats + kv_beats > 0:
        t.progress = t.now
        window = m.counts.window
        window[Traffic.WEIGHTS] += m.dma.beats * HBM_BEAT_BYTES
        window[Traffic.KV_READ] += kv_beats * HBM_BEAT_BYTES
    slot = t.now % HISTORY
    if m.dma.beats > 0:
        least = ports.weight_beats[0]
        for port in range(1, p.ports):
            least = min(least, ports.weight_beats[port])
        ports.weight_history[slot] = least
    else:
        ports.weight_history[slot] = ports.weight_history[(t.now - 1) % HISTORY]
    if m.kv.active:
        for port in range(p.ports):
            ports.kv_history[slot, port] = ports.kv_beats[port]


@jit
def _beats(m: Machine, port: int, now: int) -> int:
    """Advance one port by a core cycle; return its weight beats plus its K/V beats shifted up."""
    ratio = m.p.hbm_ratio
    if m.hbm.channels[port].wake >= now + ratio:
        return 0
    code = run_of_beats(m.hbm, port, now, ratio)
    if code >= 0:
        return ratio if code >> 1 == WEIGHTS else ratio << SHIFT  # type: ignore[no-any-return]
    found = 0
    for tick_of_cycle in range(ratio):
        beat = tick(m.hbm, port, now + tick_of_cycle)
        if beat >= 0:
            found += 1 if beat >> 1 == WEIGHTS else 1 << SHIFT
    return found


@jit
def weight_chunks(m: Machine) -> int:
    """Chunk sets that every port has delivered, as the core sees it in this cycle."""
    seen = m.ports.weight_history[(m.total.now - m.p.crossing_stages) % HISTORY]
    return seen // m.p.hbm_ratio  # type: ignore[no-any-return]


@jit
def dma(m: Machine) -> None:
    """One cycle of the weight engine: request bursts as far as the FIFOs have room."""
    d, p = m.dma, m.p
    instruction = begin(m, ENGINE)
    if instruction >= 0:
        if m.work[instruction].first == m.total.now:
            d.address = m.work[instruction].address * ADDRESS_UNIT
            d.left = m.work[instruction].amount
            d.requested += d.left
            phase = m.work[instruction].phase
            m.counts.traffic[phase, Traffic.WEIGHTS] += d.left * p.chunk_bytes * p.ports
        if _request(m):
            leave_queue(m, ENGINE)
            retire(m, ENGINE, instruction)
    _account(m, instruction)


@jit
def _request(m: Machine) -> bool:
    """Give each port one burst where its FIFO and its queue have room; true when nothing is left."""
    d, p = m.dma, m.p
    goal = d.requested  # chunks to have asked of every port when this instruction is through
    if d.behind + min(p.burst_chunks, goal - d.behind) - d.popped > p.weight_chunks:
        return False  # no FIFO has room for a burst
    base = d.requested - d.left
    d.behind = goal
    for port in range(p.ports):
        asked = d.port_requested[port]
        if asked == goal:
            continue
        offset = d.address + (asked - base) * p.chunk_bytes
        chunks = min(p.burst_chunks, goal - asked, (BOUNDARY - offset % BOUNDARY) // p.chunk_bytes)
        room = asked + min(p.burst_chunks, goal - asked) - d.popped <= p.weight_chunks
        if room and free_slots(m.hbm, port) > 0:
            push(m.hbm, port, offset, chunks * p.hbm_ratio, False, WEIGHTS, m.total.now * p.hbm_ratio)
            m.total.hbm_wake = 0
            asked += chunks
            d.port_requested[port] = asked
        d.behind = min(d.behind, asked)
    return d.behind == goal  # type: ignore[no-any-return]


@jit
def _account(m: Machine, instruction: int) -> None:
    d = m.dma
    if d.beats > 0:
        d.cause = causes.BUSY
    elif m.engines.blocked[ENGINE]:
        d.cause = causes.SEMAPHORE
    elif d.popped < d.requested:
        d.cause = causes.BACKPRESSURE if weight_chunks(m) > d.popped else causes.HBM
    else:
        d.cause = causes.BUSY if instruction >= 0 else causes.IDLE
