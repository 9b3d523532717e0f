"""HBM ports that only read K/V, advanced several core cycles at once.

A read that the core accepts in cycle t reaches the memory's scheduler ``request_ticks`` + request latency after the
end of the cycle. Up to that tick nothing the core does can change what comes back, so the memory may run ahead of
the core: port by port, and over runs of beats in one step. What the core sees in each cycle is what `dma.arrive`,
called in every cycle, lets it see; only sooner.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.dram import Dram, run_of_beats, tick
from skipopu.sim.hbm_port import SHIFT, counts_seen
from skipopu.sim.machine import HISTORY, OUTSTANDING, Record


@jit
def cycles_ahead(p: Record, hbm: Dram) -> int:
    """Core cycles that the memory can be advanced by, as far as there is room to note them."""
    blind = 1 + (p.request_ticks + hbm.parameters[0].request_latency) // p.hbm_ratio
    return min(blind, HISTORY - p.crossing_stages)  # type: ignore[no-any-return]


@jit
def run_ahead(ports: Record, p: Record, hbm: Dram, begin: int, cycles: int) -> int:
    """Advance all ports by core cycles [begin, begin + cycles); return the beats that came."""
    found = 0
    for port in range(p.ports):
        before = ports.beats[port]
        _advance(ports, p, hbm, port, begin, cycles)
        found += ports.beats[port] - before
    return found >> SHIFT


@jit
def _advance(ports: Record, p: Record, hbm: Dram, port: int, begin: int, cycles: int) -> None:
    """Step one port from event to event; ``beats`` counts all beats up to the tick it has come to."""
    channel, ratio = hbm.channels[port], p.hbm_ratio
    now, end, cycle = begin * ratio, (begin + cycles) * ratio, begin
    beats = ports.beats[port] >> SHIFT
    while now < end:
        until, rate = min(channel.wake, end), 0
        if until <= now:
            until = _run_end(channel, now, end)
            if until > now and run_of_beats(hbm, port, now, until - now) >= 0:
                rate = 1
            else:
                until = now + 1
                code = tick(hbm, port, now)
                if code >= 0:
                    rate = 1
                    _complete(ports, p, port, now, code)
        while (cycle + 1) * ratio <= until:
            ports.kv_history[cycle % HISTORY, port] = beats + rate * ((cycle + 1) * ratio - 1 - now)
            cycle += 1
        beats += rate * (until - now)
        now = until
    ports.beats[port] = beats << SHIFT


@jit
def _run_end(channel: Record, now: int, end: int) -> int:
    """Tick up to which nothing can happen but a beat a tick, the last of a run excluded."""
    if channel.read_at != now:
        return now
    quiet = min(channel.schedule_at, channel.write_at)
    return min(end, min(quiet, now + channel.run_left - 1))  # type: ignore[no-any-return]


@jit
def _complete(ports: Record, p: Record, port: int, now: int, code: int) -> None:
    """With its last beat a burst gives its credit back."""
    if code & 1:
        ports.read_seen[port, ports.completed[port] % OUTSTANDING] = counts_seen(p, now)
        ports.completed[port] += 1
