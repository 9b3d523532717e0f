"""DMA: the weight stream. Bursts to every HBM port, a chunk FIFO a port, all ports popped together.

The upper half of this file is the block alone, as `skipopu.hdl.dma` builds it; the lower half binds it to the
sequencer's queue and to the memory.
"""

from skipopu.numerics.jit import jit
from skipopu.program.isa import ADDRESS_UNIT
from skipopu.sim import causes
from skipopu.sim.dram import push, run_of_beats, tick
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.hbm_port import (
    MASK,
    SHIFT,
    WEIGHTS,
    accept_read,
    begin_cycle,
    can_read,
    note_kv,
    note_weights,
    request_tick,
    take_beat,
    take_response,
    weight_chunks,
)
from skipopu.sim.machine import FAR, HISTORY, Machine, Record
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import BOUNDARY, HBM_BEAT_BYTES

ENGINE = 0


@jit
def begin_weights(d: Record, address: int, sets: int) -> None:
    """Take an operation: ``sets`` chunks of every port from byte ``address`` on; requests begin a cycle later."""
    d.address = address - d.goal * d.chunk_bytes
    d.behind = d.goal
    d.goal += sets
    d.active = 1


@jit
def weight_address(d: Record, asked: int) -> int:
    """Byte address of the chunk that follows ``asked`` ones of all operations."""
    return d.address + asked * d.chunk_bytes  # type: ignore[no-any-return]


@jit
def weight_burst(d: Record, p: Record, asked: int) -> int:
    """Chunks of the burst that follows ``asked`` ones; 0 if there is none or no room for it.

    Bursts are cut at the same places in every port, so if the port furthest behind has no room, none has.
    """
    left = d.goal - asked
    if left == 0:
        return 0
    boundary = (BOUNDARY - weight_address(d, asked) % BOUNDARY) // p.chunk_bytes
    chunks = min(p.burst_chunks, min(left, boundary))
    return chunks if asked + chunks - d.credit <= p.weight_chunks else 0


@jit
def weights_asked(d: Record, p: Record) -> bool:
    """Every port has asked for all its chunks; also finds the one furthest behind."""
    d.behind = d.requested[0]
    for port in range(1, p.ports):
        d.behind = min(d.behind, d.requested[port])
    return d.behind == d.goal  # type: ignore[no-any-return]


@jit
def arrive(m: Machine) -> None:
    """Advance HBM by the ticks of a core cycle and note what crosses; it sleeps until its next wake tick."""
    ports, p, t = m.ports, m.p, m.total
    now = t.now * p.hbm_ratio
    m.dma.beats = 0
    m.dma.credit = m.dma.popped
    kv_beats = 0
    if t.hbm_wake < now + p.hbm_ratio:
        t.hbm_wake = FAR
        for port in range(p.ports):
            found = _beats(m, port, now)
            m.dma.beats += found & MASK
            kv_beats += found >> SHIFT
            t.hbm_wake = min(t.hbm_wake, m.hbm.channels[port].wake)
            if ports.carry[port] > 0:
                t.hbm_wake = 0
    if m.dma.beats + kv_beats > 0:
        t.progress = t.now
        window = m.counts.window
        window[Traffic.WEIGHTS] += m.dma.beats * HBM_BEAT_BYTES
        window[Traffic.KV_READ] += kv_beats * HBM_BEAT_BYTES
    if m.dma.beats > 0:
        note_weights(ports, p, t.now)
    else:
        ports.weight_history[t.now % HISTORY] = ports.weight_history[(t.now - 1) % HISTORY]
    if m.kv.active:
        note_kv(ports, p, t.now)


@jit
def _beats(m: Machine, port: int, now: int) -> int:
    """Advance one port by a core cycle; return its weight beats plus its K/V beats shifted up."""
    ratio, channel = m.p.hbm_ratio, m.hbm.channels[port]
    found = begin_cycle(m.ports, port)
    if channel.wake >= now + ratio:
        return found
    code = run_of_beats(m.hbm, port, now, ratio)
    if code >= 0:
        return found + _run(m.ports, port, ratio - 1, code)
    responses = channel.write_responses
    for k in range(now, now + ratio):
        beat = tick(m.hbm, port, k)
        if beat >= 0:
            found += take_beat(m.ports, m.p, port, k, beat)
        if channel.write_responses != responses:
            take_response(m.ports, m.p, port, k)
            responses = channel.write_responses
    return found


@jit
def _run(ports: Record, port: int, count: int, code: int) -> int:
    """Note a beat in every tick of the cycle, ``count`` and the carried one, none the last of its burst."""
    beat = 1 if code >> 1 == WEIGHTS else 1 << SHIFT
    ports.beats[port] += beat * count
    ports.carry[port] = beat
    return beat * count


@jit
def dma(m: Machine) -> None:
    """One cycle of the weight engine: request bursts as far as the FIFOs have room."""
    d, p = m.dma, m.p
    instruction = begin(m, ENGINE)
    if instruction >= 0:
        if m.work[instruction].first == m.total.now:
            sets = m.work[instruction].amount
            begin_weights(d, m.work[instruction].address * ADDRESS_UNIT, sets)
            phase = m.work[instruction].phase
            m.counts.traffic[phase, Traffic.WEIGHTS] += sets * p.chunk_bytes * p.ports
        elif _request(m):
            d.active = 0
            leave_queue(m, ENGINE)
            retire(m, ENGINE, instruction)
    _account(m, instruction)


@jit
def _request(m: Machine) -> bool:
    """Give each port one burst where its FIFO and its credit have room; true when nothing is left."""
    d, p, now = m.dma, m.p, m.total.now
    if d.behind < d.goal and weight_burst(d, p, d.behind) == 0:
        return False
    for port in range(p.ports):
        asked = d.requested[port]
        chunks = weight_burst(d, p, asked)
        if chunks > 0 and can_read(m.ports, p, port, now):
            accept_read(m.ports, port, now)
            beats = chunks * p.hbm_ratio
            push(m.hbm, port, weight_address(d, asked), beats, False, WEIGHTS, request_tick(p, now))
            m.total.hbm_wake = 0
            d.requested[port] += chunks
    return weights_asked(d, p)


@jit
def _account(m: Machine, instruction: int) -> None:
    """A word leaves, or words that were asked for wait for KER, or for the slowest port."""
    d = m.dma
    if d.popped > d.credit:
        d.cause = causes.BUSY
    elif m.engines.blocked[ENGINE]:
        d.cause = causes.SEMAPHORE
    elif d.popped < d.goal:
        ready = weight_chunks(m.ports, m.p, m.total.now) > d.popped
        d.cause = causes.BACKPRESSURE if ready else causes.HBM
    else:
        d.cause = causes.BUSY if instruction >= 0 else causes.IDLE
