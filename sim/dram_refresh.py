"""All-bank refresh of a DRAM channel.

From the tick in which a refresh is due nothing else is started. Once every open bank may be precharged all
are, with one command; tRP later the refresh goes out, and tRFC after it the first activate may. Queued
bursts then open their rows afresh. The next refresh is due tREFI after this one was, however late this one
came.
"""

from typing import Any

from skipopu.numerics.jit import jit
from skipopu.sim.dram_rows import PRECHARGE_ALL, REFRESH, close, record


@jit
def refresh(c: Any, p: Any, now: int) -> int:
    """Work towards the refresh that is due; return the tick to go on in, ``now`` once it was issued."""
    if c.open_banks > 0:
        ready = _precharge_all_ready(c, p)
        if now < ready:
            return ready
        record(c, now, PRECHARGE_ALL, -1, -1)
        for bank in range(p.banks):
            if c.row[bank] >= 0:
                close(c, p, bank, now)
    ready = _refresh_ready(c, p)
    if now < ready:
        return ready
    _refresh_all(c, p, now)
    return now


@jit
def _precharge_all_ready(c: Any, p: Any) -> int:
    latest = 0
    for bank in range(p.banks):
        if c.row[bank] >= 0:
            latest = max(latest, c.precharge_ready[bank])
    return latest


@jit
def _refresh_ready(c: Any, p: Any) -> int:
    latest = 0
    for bank in range(p.banks):
        latest = max(latest, c.activate_ready[bank])
    return latest


@jit
def _refresh_all(c: Any, p: Any, now: int) -> None:
    record(c, now, REFRESH, -1, -1)
    c.refreshes += 1
    c.next_refresh += p.tREFI
    for bank in range(p.banks):
        c.activate_ready[bank] = now + p.tRFC
        c.target[bank] = -1
        c.needed[bank] = 0
        c.found[bank] = 0
    c.waiting = 0
    c.scan_burst = c.head
    c.scan_beat = c.head_done
    c.scan_bank = 0
