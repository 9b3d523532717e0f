"""HBM ports as the core sees them: credits, and what has crossed from the memory's clock into the core's.

A burst's request reaches the AXI port ``dma.request_ticks`` after the core cycle in which it was accepted. What
happens on the AXI side in tick k is seen in the core from cycle (k + 1) // ratio + stages on, with
``crossing_stages`` for data (they pass the FIFO's output register) and one less for counts: a Gray counter that
changes at an edge of both clocks is caught by the first flip-flop at the next edge of the core's.

All functions work on the record PORTS, so that the machine and the bench of the DMA step the same code.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.machine import FAR, HISTORY, OUTSTANDING, Record

WEIGHTS, KV = 0, 1  # tags of the bursts: AXI IDs
SHIFT, MASK = 32, 0xFFFFFFFF  # two counts in one integer: weight beats, K/V beats above them


@jit
def can_read(ports: Record, p: Record, port: int, now: int) -> bool:
    """No other burst was accepted in this cycle, and fewer than ``read_bursts`` are known to be outstanding."""
    if ports.asked[port] == now:
        return False
    oldest = ports.reads[port] - p.read_bursts
    return oldest < 0 or ports.read_seen[port, oldest % OUTSTANDING] <= now  # type: ignore[no-any-return]


@jit
def accept_read(ports: Record, port: int, now: int) -> None:
    """Count a read burst that was accepted in ``now``."""
    ports.asked[port] = now
    ports.read_seen[port, ports.reads[port] % OUTSTANDING] = FAR
    ports.reads[port] += 1


@jit
def can_write(ports: Record, p: Record, port: int, now: int) -> bool:
    """Fewer than ``write_bursts`` are known to be unacknowledged."""
    oldest = ports.writes[port] - p.write_bursts
    return oldest < 0 or ports.write_seen[port, oldest % OUTSTANDING] <= now  # type: ignore[no-any-return]


@jit
def accept_write(ports: Record, port: int) -> None:
    """Count a write burst whose last chunk was accepted."""
    ports.write_seen[port, ports.writes[port] % OUTSTANDING] = FAR
    ports.writes[port] += 1
    ports.unacknowledged += 1


@jit
def request_tick(p: Record, now: int) -> int:
    """Tick in which a burst accepted in core cycle ``now`` stands at the AXI port."""
    return (now + 1) * p.hbm_ratio + p.request_ticks  # type: ignore[no-any-return]


@jit
def counts_seen(p: Record, tick: int) -> int:
    """First core cycle that sees an event counted in ``tick``."""
    return (tick + 1) // p.hbm_ratio + p.crossing_stages - 1  # type: ignore[no-any-return]


@jit
def begin_cycle(ports: Record, port: int) -> int:
    """Count the beats of the last tick before this cycle; return weight beats, K/V beats shifted up."""
    late: int = ports.carry[port]
    ports.beats[port] += late
    ports.carry[port] = 0
    return late


@jit
def take_beat(ports: Record, p: Record, port: int, tick: int, code: int) -> int:
    """Note a read beat, tag · 2 + is_last, handshaked in ``tick``; return what `begin_cycle` would.

    The pointer that moves with the last tick of a core cycle is caught one core cycle later than the others'.
    """
    if code & 1:
        ports.read_seen[port, ports.completed[port] % OUTSTANDING] = counts_seen(p, tick)
        ports.completed[port] += 1
    beat = 1 if code >> 1 == WEIGHTS else 1 << SHIFT
    if (tick + 1) % p.hbm_ratio == 0:
        ports.carry[port] += beat
        return 0
    ports.beats[port] += beat
    return beat


@jit
def take_response(ports: Record, p: Record, port: int, tick: int) -> None:
    """Note a write response handshaked in ``tick``."""
    seen = counts_seen(p, tick)
    ports.write_seen[port, ports.acknowledged[port] % OUTSTANDING] = seen
    ports.acknowledged[port] += 1
    ports.unacknowledged -= 1
    ports.last_response = max(ports.last_response, seen)


@jit
def writes_pending(ports: Record, now: int) -> bool:
    """A write burst is not known to be acknowledged."""
    return ports.unacknowledged > 0 or ports.last_response > now  # type: ignore[no-any-return]


@jit
def note_weights(ports: Record, p: Record, now: int) -> None:
    """Keep the beats of the port that is furthest behind: all are popped together."""
    least = ports.beats[0] & MASK
    for port in range(1, p.ports):
        least = min(least, ports.beats[port] & MASK)
    ports.weight_history[now % HISTORY] = least


@jit
def note_kv(ports: Record, p: Record, now: int) -> None:
    """Keep every port's K/V beats."""
    slot = now % HISTORY
    for port in range(p.ports):
        ports.kv_history[slot, port] = ports.beats[port] >> SHIFT


@jit
def weight_chunks(ports: Record, p: Record, now: int) -> int:
    """Chunk sets that have stood at the outputs of all weight FIFOs by ``now``, popped ones included."""
    return ports.weight_history[(now - p.crossing_stages) % HISTORY] // p.hbm_ratio  # type: ignore[no-any-return]


@jit
def kv_chunk_ready(ports: Record, p: Record, port: int, now: int, popped: int) -> bool:
    """The chunk that follows ``popped`` ones stands at the output of the port's K/V FIFO in ``now``."""
    beats = ports.kv_history[(now - p.crossing_stages) % HISTORY, port]
    return beats >= (popped + 1) * p.hbm_ratio  # type: ignore[no-any-return]


@jit
def kv_chunks(ports: Record, p: Record, port: int, now: int) -> int:
    """Chunks that have stood at the output of the port's K/V FIFO by ``now``, popped ones included."""
    return ports.kv_history[(now - p.crossing_stages) % HISTORY, port] // p.hbm_ratio  # type: ignore[no-any-return]
