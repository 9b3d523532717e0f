"""What comes back from a DRAM channel: read beats and write responses, in the order of their commands.

Both rings hold the ticks in which something reaches the AXI port: read beats tCL + response latency after
their column command, a run of beats an entry; a burst's write response tCWL + response latency after its
last.
"""

from typing import Any

from skipopu.numerics.jit import jit
from skipopu.sim.dram_state import FAR, QUEUE, RUNS


@jit
def expect_reads(c: Any, tick: int, count: int, code: int) -> None:
    """Expect ``count`` beats, stride apart, from ``tick`` on; ``code``: tag · 2 + 1 if the burst ends."""
    place = c.runs_issued & (RUNS - 1)
    c.run_tick[place] = tick
    c.run_beats[place] = count
    c.run_code[place] = code
    c.runs_issued += 1
    if c.read_at == FAR:
        _begin_run(c)


@jit
def _begin_run(c: Any) -> None:
    """Turn to the oldest run, if there is one."""
    if c.runs_issued == c.runs_delivered:
        c.read_at = FAR
        return
    place = c.runs_delivered & (RUNS - 1)
    c.read_at = c.run_tick[place]
    c.run_left = c.run_beats[place]
    c.run_current = c.run_code[place]


@jit
def expect_response(c: Any, tick: int) -> None:
    """Expect a burst's write response in ``tick``."""
    c.response[c.writes_issued & (QUEUE - 1)] = tick
    c.writes_issued += 1
    if c.write_at == FAR:
        c.write_at = tick


@jit
def set_wake(c: Any) -> None:
    """Note the next tick in which anything can happen."""
    c.wake = min(c.schedule_at, min(c.read_at, c.write_at))


@jit
def next_of_run(c: Any, p: Any) -> int:
    """Return the code of the next beat of the current run, which is not its last and all there is to do."""
    c.run_left -= 1
    c.read_at += p.stride
    set_wake(c)
    code: int = c.run_current & ~1
    return code


@jit
def deliver(c: Any, p: Any, now: int) -> int:
    """Return the code of the read beat that reaches the port in ``now``, or −1; count a write response."""
    if now >= c.write_at:
        _respond(c)
    if now < c.read_at:
        return -1
    c.run_left -= 1
    code: int = c.run_current
    if c.run_left > 0:
        c.read_at += p.stride
        return code & ~1
    c.finished += code & 1
    c.runs_delivered += 1
    _begin_run(c)
    return code


@jit
def _respond(c: Any) -> None:
    c.finished += 1
    c.write_responses += 1
    c.write_at = c.response[c.write_responses & (QUEUE - 1)] if c.write_responses < c.writes_issued else FAR
