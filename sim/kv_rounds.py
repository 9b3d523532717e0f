"""KV rounds: the rounds that are formed, and the chunks of the first of them; as `skipopu.hdl.kv_rounds` builds it."""

from skipopu.numerics.jit import jit
from skipopu.numerics.kv_schedule import BUFFER
from skipopu.sim import causes
from skipopu.sim.hbm_port import kv_chunk_ready
from skipopu.sim.machine import KvCache, Record


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
def read_cause(k: Record, p: Record, now: int, rounds: int) -> int:
    """What a cycle of a running operation is for; ``rounds``: those formed as it begins."""
    if k.taken:
        return causes.BUSY
    if output_valid(k, p):
        return causes.BACKPRESSURE
    if k.current < rounds:
        return causes.KV if end_unknown(k, now, rounds) else causes.HBM
    return causes.DRAINING if k.scheduled <= now else causes.KV
