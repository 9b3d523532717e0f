"""KV buffer: streams the K/V rounds. What a round holds is `skipopu.numerics.kv_rounds`; here is when.

Each port works through its own tokens in round order, as far as its chunk FIFO has room. A round moves one
chunk from every one of its sources in a cycle; entries in the invariance buffer are always ready.
"""

from skipopu.numerics.jit import jit
from skipopu.numerics.kv_rounds import schedule
from skipopu.sim import causes
from skipopu.sim.dma import KV
from skipopu.sim.dram import free_slots, push
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.machine import HISTORY, KvCache, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import BOUNDARY

ENGINE = 3


@jit
def kv_buffer(m: Machine, c: KvCache) -> None:
    """One cycle of the engine: start the next pass, request, retire when the last round was taken."""
    k = m.kv
    instruction = begin(m, ENGINE)
    k.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        k.popped_now = 0
        return
    if m.work[instruction].first == m.total.now:
        _start(m, c, instruction)
    if k.active:
        _request(m, c)
    if k.active or k.popped_now:  # the last chunk ends the pass in the cycle in which it is taken
        waiting = causes.BACKPRESSURE if round_ready(m, c) else causes.HBM
        k.cause = causes.BUSY if k.popped_now else waiting
        if m.work[instruction].decode and k.cause != causes.BACKPRESSURE:
            m.total.kv_cycles += 1
    k.popped_now = 0
    if not k.active:
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _start(m: Machine, c: KvCache, instruction: int) -> None:
    """Form the rounds. V follows K through the same rounds; prefill reads past the buffer."""
    k, w, p = m.kv, m.work, m.p
    decode, layer = w[instruction].decode == 1, w[instruction].layer
    if k["pass"] != w[instruction].kv_pass:
        k["pass"] = w[instruction].kv_pass
        k.valid = 0
    if w[instruction].rows == 0:
        k.valid = 0  # the query skips attention: the buffer is invalidated
        return
    if not (decode and w[instruction].value):
        usable = decode and k.valid == 1
        tokens = w[instruction].tokens
        k.rounds = schedule(c.limits, c.placement, layer, tokens, usable, decode, c.held, c.rounds)
    if decode and w[instruction].value:
        k.valid = 1 if c.limits.capacity > 0 else 0
    k.layer, k.value = layer, w[instruction].value
    k.current, k.chunk, k.active = 0, 0, 1
    k.chunks = w[instruction].pairs * p.pair_bytes // p.chunk_bytes
    k.offset = w[instruction].pair * p.pair_bytes
    _deal(m, c, instruction)


@jit
def _deal(m: Machine, c: KvCache, instruction: int) -> None:
    """Deal the entries of the schedule out to their ports and count what will move."""
    k, r, w = m.kv, c.rounds, m.work
    k.count[:] = 0
    k.entry[:] = 0
    k.byte[:] = 0
    buffered = 0
    entries = r.first[k.rounds]
    for entry in range(entries):
        port = r.port[entry]
        if port >= 0:
            c.port_entries[port, k.count[port]] = entry
            k.count[port] += 1
        else:
            buffered += 1
    phase, size = w[instruction].phase, k.chunks * m.p.chunk_bytes
    m.counts.traffic[phase, Traffic.KV_READ] += (entries - buffered) * size
    m.counts.buffer_bytes[phase] += buffered * size


@jit
def _request(m: Machine, c: KvCache) -> None:
    """One burst for each port that has tokens left, room in its FIFO, and a free slot."""
    k, p = m.kv, m.p
    size = k.chunks * p.chunk_bytes
    for port in range(p.ports):
        if k.entry[port] == k.count[port]:
            continue
        token = c.rounds.token[c.port_entries[port, k.entry[port]]]
        source = c.placement.source[k.layer, token]
        slot = c.placement.slot[k.layer, token]
        vector = (2 * source + k.value) * p.slots + slot
        address = p.kv_base + vector * p.vector_bytes + k.offset + k.byte[port]
        chunks = min(p.burst_chunks, min(size - k.byte[port], BOUNDARY - address % BOUNDARY) // p.chunk_bytes)
        if k.requested[port] + chunks - k.popped[port] > p.kv_chunks or free_slots(m.hbm, port) == 0:
            continue
        push(m.hbm, port, address, chunks * p.hbm_ratio, False, KV, m.total.now * p.hbm_ratio)
        m.total.hbm_wake = 0
        k.requested[port] += chunks
        k.byte[port] += chunks * p.chunk_bytes
        if k.byte[port] == size:
            k.entry[port] += 1
            k.byte[port] = 0


@jit
def round_ready(m: Machine, c: KvCache) -> bool:
    """Every HBM source of the round has a chunk in its FIFO."""
    k, r = m.kv, c.rounds
    if not k.active:
        return False
    slot = (m.total.now - m.p.crossing_stages) % HISTORY
    for entry in range(r.first[k.current], r.first[k.current + 1]):
        port = r.port[entry]
        if port >= 0 and m.ports.kv_history[slot, port] // m.p.hbm_ratio <= k.popped[port]:
            return False
    return True


@jit
def pop_round(m: Machine, c: KvCache) -> None:
    """Take one chunk from every source of the round."""
    k, r = m.kv, c.rounds
    for entry in range(r.first[k.current], r.first[k.current + 1]):
        if r.port[entry] >= 0:
            k.popped[r.port[entry]] += 1
    k.popped_now = 1
    k.chunk += 1
    if k.chunk == k.chunks:
        k.chunk = 0
        k.current += 1
        if k.current == k.rounds:
            k.active = 0
