"""KV fetch: a port's tokens, in order, as bursts to its HBM port; as `skipopu.hdl.kv_fetch` builds it."""

from skipopu.numerics.jit import jit
from skipopu.numerics.kv_schedule import place_token
from skipopu.sim.kv_interleaved import slowest_head
from skipopu.sim.machine import KvCache, Record
from skipopu.spec.overlay import BOUNDARY


@jit
def push_token(k: Record, c: KvCache, p: Record) -> int:
    """Put the token the scheduler looks at into its port's queue: 1; −1 if that is full."""
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
