"""KV buffer: streams the K/V rounds. What a round holds is `skipopu.numerics.kv_rounds`; here is when.

Each port works through its own tokens in round order, as far as its chunk FIFO has room. A round moves one
chunk from every one of its sources in a cycle; entries in the invariance buffer are always ready.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.numerics.kv_rounds import schedule
from skipopu.sim.dma import KV
from skipopu.sim.dram import free_slots, push
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.machine import HISTORY, Machine
from skipopu.spec.ledger import Traffic

ENGINE = 3


@jit
def kv_buffer(m: Machine) -> None:
    """One cycle of the engine: start the next pass, request, retire when the last round was taken."""
    k = m.kv
    instruction = begin(m, ENGINE)
    k.cause = causes.SEMAPHORE if m.engines[ENGINE].blocked else causes.IDLE
    if instruction < 0:
        k.popped_now = 0
        return
    if m.first[instruction] == m.total.now:
        _start(m, instruction)
    if k.active:
        if m.work.decode[instruction]:
            m.total.kv_cycles += 1
        _request(m, instruction)
        k.cause = causes.BUSY if k.popped_now else causes.BACKPRESSURE if round_ready(m) else causes.HBM
    k.popped_now = 0
    if not k.active:
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _start(m: Machine, instruction: int) -> None:
    """Form the rounds. V follows K through the same rounds; prefill reads past the buffer."""
    k, w, p = m.kv, m.work, m.p
    decode, layer = w.decode[instruction] == 1, w.layer[instruction]
    if k["pass"] != w.kv_pass[instruction]:
        k["pass"] = w.kv_pass[instruction]
        k.valid = 0
    if w.rows[instruction] == 0:
        k.valid = 0  # the query skips attention: the buffer is invalidated
        return
    if not (decode and w.value[instruction]):
        usable = decode and k.valid == 1
        k.rounds = schedule(m.limits, m.placement, layer, w.tokens[instruction], usable, decode, m.held, m.rounds)
    if decode and w.value[instruction]:
        k.valid = 1 if m.limits.capacity > 0 else 0
    k.layer, k.value = layer, w.value[instruction]
    k.round, k.chunk, k.active = 0, 0, 1
    k.chunks = w.pairs[instruction] * p.pair_bytes // p.chunk_bytes
    k.offset = w.pair[instruction] * p.pair_bytes
    _deal(m, instruction)


@jit
def _deal(m: Machine, instruction: int) -> None:
    """Deal the entries of the schedule out to their ports and count what will move."""
    k, r, w = m.kv, m.rounds, m.work
    k.count[:] = 0
    k.entry[:] = 0
    k.byte[:] = 0
    buffered = 0
    entries = r.first[k.rounds]
    for entry in range(entries):
        port = r.port[entry]
        if port >= 0:
            m.port_entries[port, k.count[port]] = entry
            k.count[port] += 1
        else:
            buffered += 1
    phase, size = w.phase[instruction], k.chunks * m.p.chunk_bytes
    m.traffic[phase, Traffic.KV_READ] += (entries - buffered) * size
    m.buffer_bytes[phase] += buffered * size


@jit
def _request(m: Machine, instruction: int) -> None:
    """One burst for each port that has tokens left, room in its FIFO, and a free slot."""
    k, p = m.kv, m.p
    size = k.chunks * p.chunk_bytes
    for port in range(p.ports):
        if k.entry[port] == k.count[port]:
            continue
        chunks = min(p.burst_chunks, (size - k.byte[port]) // p.chunk_bytes)
        if k.requested[port] + chunks - k.popped[port] > p.kv_chunks or free_slots(m.hbm, port) == 0:
            continue
        token = m.rounds.token[m.port_entries[port, k.entry[port]]]
        source = m.placement.source[k.layer, token]
        slot = m.placement.slot[k.layer, token]
        vector = (2 * source + k.value) * p.slots + slot
        address = p.kv_base + vector * p.vector_bytes + k.offset + k.byte[port]
        push(m.hbm, port, address, chunks * p.hbm_ratio, False, KV, m.total.now * p.hbm_ratio)
        m.total.hbm_wake = 0
        k.requested[port] += chunks
        k.byte[port] += chunks * p.chunk_bytes
        if k.byte[port] == size:
            k.entry[port] += 1
            k.byte[port] = 0


@jit
def round_ready(m: Machine) -> bool:
    """Every HBM source of the round has a chunk in its FIFO."""
    k, r = m.kv, m.rounds
    if not k.active:
        return False
    slot = (m.total.now - m.p.crossing_stages) % HISTORY
    for entry in range(r.first[k.round], r.first[k.round + 1]):
        port = r.port[entry]
        if port >= 0 and m.ports.kv_history[slot, port] // m.p.hbm_ratio <= k.popped[port]:
            return False
    return True


@jit
def pop_round(m: Machine) -> None:
    """Take one chunk from every source of the round."""
    k, r = m.kv, m.rounds
    for entry in range(r.first[k.round], r.first[k.round + 1]):
        if r.port[entry] >= 0:
            k.popped[r.port[entry]] += 1
    k.popped_now = 1
    k.chunk += 1
    if k.chunk == k.chunks:
        k.chunk = 0
        k.round += 1
        if k.round == k.rounds:
            k.active = 0

