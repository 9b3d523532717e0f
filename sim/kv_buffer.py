"""KV buffer: schedules the K/V rounds, fetches their vectors, and streams them chunk by chunk.

What a round holds is `skipopu.numerics.kv_schedule`; here is when. A pass goes through four processes at once: the
scheduler looks at a token a cycle; every port fetches the tokens of its queue in order; a round that is formed gives
one chunk of each of its sources a cycle; banks and pipeline delay them by ``read_stages``. Each sees the others as they
stood when the cycle began.

The upper half of this file, `kv_fetch`, `kv_rounds` and `kv_announcements` are the block alone, as
`skipopu.hdl.kv_buffer` builds it; the lower half binds it to the sequencer's queue and to the memory.
"""

from skipopu.numerics.jit import jit
from skipopu.numerics.kv_schedule import (
    BUFFER,
    DONE,
    FORM,
    PASS,
    begin,
    commit,
    form_round,
    next_step,
    pass_token,
    place_token,
)
from skipopu.sim import causes, engine
from skipopu.sim.dram import push
from skipopu.sim.hbm_port import KV, accept_read, can_read, request_tick
from skipopu.sim.kv_announcements import announce
from skipopu.sim.kv_fetch import kv_address, kv_burst, kv_requested, no_room, push_token, waiting_entry
from skipopu.sim.kv_interleaved import gather, share_part
from skipopu.sim.kv_rounds import read_cause, stream_round
from skipopu.sim.machine import FAR, KvCache, Machine, Record
from skipopu.spec.ledger import Phase, Traffic
from skipopu.spec.overlay import BLOCK_RAM_READ

ENGINE = 3


@jit
def begin_read(
    k: Record, c: KvCache, now: int, executed: bool, decode: bool, value: int, layer: int, tokens: int, view: int = 0
) -> None:
    """Take an operation in ``now``; V runs the schedule of K once more. What is read is set by the caller."""
    k.active, k.executed, k.decode, k.value, k.layer = 1, executed, decode, value, layer
    usable = decode and k.valid and layer > 0
    begin(c.limits, c.schedule, layer, tokens, usable, decode, view)
    k.scan_from = now + 1 + BLOCK_RAM_READ
    k.scheduled = FAR if executed or not value else now + 1
    k.current = k.chunk = k.pipeline = k.filling = k.taken = k.ends = 0
    k.head[:] = 0
    k.tail[:] = 0
    k.byte[:] = 0
    k.gathered[:] = 0


@jit
def read_part(k: Record, p: Record, pair: int, pairs: int) -> None:
    """Of every vector, read head pairs [pair, pair + pairs)."""
    k.offset = pair * p.pair_bytes
    k.chunks = pairs * p.pair_bytes // p.chunk_bytes
    if p.spread:
        share_part(k, p)


@jit
def read_finished(k: Record, c: KvCache, now: int) -> bool:
    """All rounds are formed and have left the pipeline, as known from the cycle before."""
    return k.scheduled <= now and k.current == c.schedule.s.rounds and k.pipeline == 0  # type: ignore[no-any-return]


@jit
def end_read(k: Record, c: KvCache) -> None:
    """Retire: after V the buffer holds what the next layer reuses, or nothing that can be used."""
    k.active = 0
    if k.value:
        k.valid = k.executed and k.decode and c.limits.capacity > 0
        if k.executed and k.decode:
            commit(c.schedule)


@jit
def schedule_token(k: Record, c: KvCache, p: Record, now: int) -> int:
    """One cycle of the scheduler: one step, if its queue has room. Return BUFFER + 1 … for a placed entry, else −1.

    The result is 0 for an entry of the buffer and 1 for one of HBM.
    """
    k.pushed = -1
    if now < k.scan_from or k.scheduled <= now:
        return -1
    s = c.schedule.s
    if not k.executed:
        s.scan += 1
        k.scheduled = now + 1 if s.scan > s.tokens else FAR
        return -1
    step = next_step(c.limits, c.placement, c.schedule)
    if step == DONE:
        k.scheduled = now + 1
        announce(k, 1)
    elif step == PASS:
        pass_token(c.schedule)
    elif step == FORM:
        if s.rounds - k.current < p.round_queue:
            formed = s.rounds
            form_round(c.limits, c.schedule)
            if s.rounds > formed:
                announce(k, 0)
            return -1
    elif s.where == BUFFER:
        place_token(c.limits, c.schedule)
        return 0
    else:
        return push_token(k, c, p)
    return -1


@jit
def kv_buffer(m: Machine, c: KvCache) -> None:
    """One cycle of the engine."""
    k = m.kv
    instruction = engine.begin(m, ENGINE)
    k.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    if m.work[instruction].first == m.total.now:
        _start(m, c, instruction)
    elif read_finished(k, c, m.total.now):
        k.cause = causes.DRAINING
        end_read(k, c)
        engine.leave_queue(m, ENGINE)
        engine.retire(m, ENGINE, instruction)
    else:
        advance_read(m, c, m.work[instruction].phase)
    k.taken = 0


@jit
def _start(m: Machine, c: KvCache, instruction: int) -> None:
    k, w, p = m.kv, m.work, m.p
    executed, decode = w[instruction].rows > 0, w[instruction].decode == 1
    tokens, view = w[instruction].tokens, w[instruction].shown
    begin_read(k, c, m.total.now, executed, decode, w[instruction].value, w[instruction].layer, tokens, view)
    read_part(k, p, w[instruction].pair, w[instruction].pairs)
    k.cause = causes.BUSY


@jit
def advance_read(m: Machine, c: KvCache, phase: int) -> None:
    """One cycle of a running operation; the chunks at the output are taken if ``kv.taken`` says so."""
    k, p, now = m.kv, m.p, m.total.now
    rounds = c.schedule.s.rounds
    k.cause = read_cause(k, p, now, rounds)
    if k.executed and phase == Phase.DECODE and k.cause != causes.BACKPRESSURE:
        m.total.kv_cycles += 1
    placed = schedule_token(k, c, p, now)
    if placed >= 0:
        size = k.chunks * p.chunk_bytes
        m.counts.traffic[phase, Traffic.KV_READ] += placed * size
        m.counts.buffer_bytes[phase] += (1 - placed) * size
    _request(m, c)
    stream_round(k, c, p, m.ports, now, rounds)
    if p.spread:
        gather(k, c, p, m.ports, now, rounds)
    if k.taken:
        m.total.progress = now


@jit
def _request(m: Machine, c: KvCache) -> None:
    """One burst for each port that has tokens left, room in its FIFO, and a credit."""
    k, p, now = m.kv, m.p, m.total.now
    for port in range(p.ports):
        if no_room(k, p, port) or not waiting_entry(k, p, port):
            continue
        if p.spread and k.part_chunks[port] == 0:
            k.head[port] += 1  # no chunk of this part lies here
            continue
        address = kv_address(k, c, p, port)
        chunks = kv_burst(k, p, port, address)
        if chunks == 0 or not can_read(m.ports, p, port, now):
            continue
        accept_read(m.ports, port, now)
        push(m.hbm, port, address, chunks * p.hbm_ratio, False, KV, request_tick(p, now))
        m.total.hbm_wake = 0
        kv_requested(k, p, port, chunks)
