"""One tick of one DRAM channel in which a command may go out."""

from typing import Any

from skipopu.numerics.jit import jit
from skipopu.sim.dram_columns import columns
from skipopu.sim.dram_refresh import refresh
from skipopu.sim.dram_returns import deliver, set_wake
from skipopu.sim.dram_rows import look_ahead, row_command


@jit
def advance(c: Any, p: Any, now: int) -> int:
    """Do what happens in ``now``; return the code of the beat delivered in it, or −1."""
    if now >= c.schedule_at:
        c.schedule_at = schedule(c, p, now)
    beat = deliver(c, p, now)
    set_wake(c)
    return beat


@jit
def schedule(c: Any, p: Any, now: int) -> int:
    """Issue the commands of ``now``; return the next tick in which there can be one."""
    if now >= c.next_refresh:
        ready = refresh(c, p, now)
        if ready > now:
            return ready
    request = look_ahead(c, p, now)
    before = c.column_next
    column = columns(c, p, now)
    if c.column_next != before:  # beats went: the look-ahead can go on
        request = look_ahead(c, p, now)
    row = row_command(c, p, now)
    following: int = min(min(c.next_refresh, request), min(row, column))
    return following
