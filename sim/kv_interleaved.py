"""The interleaved K/V map: chunk n of every vector lies in port n modulo ports, the baseline of SkipOPU §5.4.

All ports deliver parts of the same token, but the PE array wants the same chunk of every token of a round. So a round
is gathered in a transposing buffer of two halves (a decision; the paper does not describe its baseline) and streamed
from there while the next one is gathered.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.hbm_port import kv_chunk_ready
from skipopu.sim.machine import KvCache, Record

HALVES = 2


@jit
def share_part(k: Record, p: Record) -> None:
    """Find out which chunks of the part of a vector that is read lie in each port."""
    begin = k.offset // p.chunk_bytes
    for port in range(p.ports):
        first = begin + (port - begin) % p.ports
        k.part_offset[port] = first // p.ports * p.chunk_bytes
        k.part_chunks[port] = max(0, (begin + k.chunks - first + p.ports - 1) // p.ports)


@jit
def slowest_head(k: Record, p: Record) -> int:
    """Entries that every port has asked for: the fetch queue is one for all ports."""
    slowest = k.head[0]
    for port in range(1, p.ports):
        slowest = min(slowest, k.head[port])
    return slowest  # type: ignore[no-any-return]


@jit
def gather(k: Record, c: KvCache, p: Record, ports: Record, now: int, formed: int) -> None:
    """Move a chunk from every port that has one into the half that is filled; next cycle it can be streamed.

    The tokens of the open round are gathered as they are placed: the ports' FIFOs need not hold a whole round.
    """
    if k.filling - k.current == HALVES:
        return
    s, first, closed = c.schedule.s, c.schedule.first, k.filling < formed
    tokens = (first[k.filling + 1] if closed else s.entries) - first[k.filling]
    missing = 0
    for port in range(p.ports):
        need = tokens * k.part_chunks[port]
        if k.gathered[port] < need and kv_chunk_ready(ports, p, port, now, k.popped[port]):
            k.gathered[port] += 1
            k.popped[port] += 1
        missing += need - k.gathered[port]
    if closed and missing == 0:
        k.filling += 1
        k.gathered[:] = 0
