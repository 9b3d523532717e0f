"""KV buffer: schedules the K/V rounds, fetches their vectors, and streams them chunk by chunk.

What a round holds is `skipopu.numerics.kv_schedule`; here is when. A pass goes through four processes at once: the
scheduler looks at a token a cycle; every port fetches the tokens of its queue in order; a round that is formed gives
one chunk of each of its sources a cycle; banks and pipeline delay them by ``read_stages``. Each sees the others as they
stood when the cycle began.

The upper half of this file is the block alone, as `skipopu.hdl.kv_buffer` builds it; the lower half binds it to the
sequencer's queue and to the memory.
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
from skipopu.sim.hbm_port import KV, accept_read, can_read, kv_chunk_ready, request_tick
from skipopu.sim.kv_interleaved import gather, share_part, slowest_head
from skipopu.sim.machine import ANNOUNCED, FAR, KvCache, Machine, Record
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import BLOCK_RAM_READ, BOUNDARY

ENGINE = 3
NOTHING, ROUND, END = range(3)  # announcements


@jit
def begin_read(
    k: Record, c: KvCache, now: int, executed: bool, decode: bool, value: int, layer: int, tokens: int
) -> None:
    """Take an operation in ``now``; V runs the schedule of K once more. What is read is set by the caller."""
    k.active, k.executed, k.decode, k.value, k.layer = 1, executed, decode, value, layer
    usable = decode and k.valid and layer > 0
    begin(c.limits, c.schedule, layer, tokens, usable, decode)
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
        _announce(k, 1)
    elif step == PASS:
        pass_token(c.schedule)
    elif step == FORM:
        if s.rounds - k.current < p.round_queue:
            formed = s.rounds
            form_round(c.limits, c.schedule)
            if s.rounds > formed:
                _announce(k, 0)
            return -1
    elif s.where == BUFFER:
        place_token(c.limits, c.schedule)
        return 0
    else:
        return _push_token(k, c, p)
    return -1


@jit
def _announce(k: Record, end: int) -> None:
    """Tell IFM, from the next cycle on, that a round of K is formed, or that all are."""
    if not k.value:
        k.announced_end[k.announced_tail % ANNOUNCED] = end
        k.announced_tail += 1


@jit
def round_announced(k: Record) -> int:
    """What stands at the head of the announcements: NOTHING, ROUND or END. IFM steps before this block."""
    if k.announced_head == k.announced_tail:
        return NOTHING
    return END if k.announced_end[k.announced_head % ANNOUNCED] else ROUND


@jit
def take_announcement(k: Record) -> None:
    """Go on to the next one."""
    k.announced_head += 1


@jit
def _push_token(k: Record, c: KvCache, p: Record) -> int:
    port = c.schedule.s.where
    head = slowest_head(k, p) if p.spread else k.head[port]
    if k.tail[port] - head == p.kv_queue_depth:
        return -1
    c.fetch[port, k.tail[port]] = c.schedule.s.scan
    k.tail[port] += 1
    k.pushed = port
    place_token(c.limits, c.schedule)
    return 1


@jit
def waiting_entry(k: Record, p: Record, port: int) -> bool:
    """The port's fetch queue has an entry that stood there when the cycle began."""
    queue = 0 if p.spread else port
    return k.head[port] < k.tail[queue] - (k.pushed == queue)  # type: ignore[no-any-return]


@jit
def kv_address(k: Record, c: KvCache, p: Record, port: int) -> int:
    """Byte address, in its port, of the next chunk of the entry at the head of the port's fetch queue."""
    token = c.fetch[0 if p.spread else port, k.head[port]]
    slot = (2 * c.placement.source[k.layer, token] + k.value) * p.slots + c.placement.slot[k.layer, token]
    offset = k.part_offset[port] if p.spread else k.offset
    return p.kv_base + slot * p.stride_bytes + offset + k.byte[port]  # type: ignore[no-any-return]


@jit
def kv_burst(k: Record, p: Record, port: int, address: int) -> int:
    """Chunks of the next burst of the entry at the head of the port's queue; 0: the FIFO has no room for it."""
    chunks = k.part_chunks[port] if p.spread else k.chunks
    left = chunks - k.byte[port] // p.chunk_bytes
    chunks = min(p.burst_chunks, min(left, (BOUNDARY - address % BOUNDARY) // p.chunk_bytes))
    k.wanted[port] = k.requested[port] + chunks
    return 0 if no_room(k, p, port) else chunks


@jit
def no_room(k: Record, p: Record, port: int) -> bool:
    """The port's next burst, once its size is known, does not fit the FIFO; says so before it is worked out again."""
    return k.wanted[port] - k.popped[port] > p.kv_chunks  # type: ignore[no-any-return]


@jit
def kv_requested(k: Record, p: Record, port: int, chunks: int) -> None:
    """Count an accepted burst; the entry leaves the queue with its last one."""
    k.requested[port] += chunks
    k.byte[port] += chunks * p.chunk_bytes
    if k.byte[port] == p.chunk_bytes * (k.part_chunks[port] if p.spread else k.chunks):
        k.head[port] += 1
        k.byte[port] = 0


@jit
def output_valid(k: Record, p: Record) -> bool:
    """A chunk of every source of a round stands at the output."""
    return k.pipeline >> (p.kv_read_stages - 1) & 1 == 1  # type: ignore[no-any-return]


@jit
def output_end(k: Record, p: Record) -> bool:
    """The chunks at the output are the last of the operation."""
    return k.ends == 1 and k.pipeline == 1 << p.kv_read_stages - 1  # type: ignore[no-any-return]


@jit
def stream_round(k: Record, c: KvCache, p: Record, ports: Record, now: int, formed: int) -> None:
    """Advance the pipeline if its output is free or taken; take a chunk of every source into it if all are there.

    ``formed``: rounds in the queue when the cycle began.
    """
    if output_valid(k, p) and not k.taken:
        return
    k.pipeline = k.pipeline << 1 & (1 << p.kv_read_stages) - 1
    if k.current == formed or end_unknown(k, now, formed):
        return
    if p.spread:
        if k.current == k.filling:
            return
    elif not _sources_ready(k, c, p, ports, now):
        return
    k.pipeline |= 1
    k.chunk += 1
    if k.chunk == k.chunks:
        k.chunk = 0
        k.current += 1
        k.ends = k.current == formed


@jit
def end_unknown(k: Record, now: int, formed: int) -> bool:
    """The next chunk is its round's last, and whether another round follows is not known yet."""
    return k.chunk == k.chunks - 1 and k.current + 1 == formed and k.scheduled > now  # type: ignore[no-any-return]


@jit
def _sources_ready(k: Record, c: KvCache, p: Record, ports: Record, now: int) -> bool:
    """Every HBM source of the round has a chunk at its FIFO's output; then all are popped."""
    r = c.schedule
    for entry in range(r.first[k.current], r.first[k.current + 1]):
        port = r.port[entry]
        if port != BUFFER and not kv_chunk_ready(ports, p, port, now, k.popped[port]):
            return False
    for entry in range(r.first[k.current], r.first[k.current + 1]):
        if r.port[entry] != BUFFER:
            k.popped[r.port[entry]] += 1
    return True


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
    begin_read(k, c, m.total.now, executed, decode, w[instruction].value, w[instruction].layer, w[instruction].tokens)
    read_part(k, p, w[instruction].pair, w[instruction].pairs)
    k.cause = causes.BUSY


@jit
def advance_read(m: Machine, c: KvCache, phase: int) -> None:
    """One cycle of a running operation; the chunks at the output are taken if ``kv.taken`` says so."""
    k, p, now = m.kv, m.p, m.total.now
    rounds = c.schedule.s.rounds
    k.cause = read_cause(k, p, now, rounds)
    if k.executed and k.decode and k.cause != causes.BACKPRESSURE:
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
def read_cause(k: Record, p: Record, now: int, rounds: int) -> int:
    """What a cycle of a running operation is for; ``rounds``: those formed as it begins."""
    if k.taken:
        return causes.BUSY
    if output_valid(k, p):
        return causes.BACKPRESSURE
    if k.current < rounds:
        return causes.KV if end_unknown(k, now, rounds) else causes.HBM
    return causes.DRAINING if k.scheduled <= now else causes.KV


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
