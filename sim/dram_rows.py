"""Row commands of a DRAM channel: look-ahead, precharge, activate.

The look-ahead walks over the queued bursts and gives each bank a target row. A bank's target changes only
when no earlier beat needs the old one any more, so an open row is never closed under a queued burst. Banks
whose open row is not their target wait in one list, in the order asked; each tick the first of them whose
command is legal gets the row bus.
"""

from typing import Any

from skipopu.numerics.jit import jit
from skipopu.sim.dram_state import ACTIVATES, BANKS, CLOSED, CONFLICT, FAR, LOG, QUEUE

ACTIVATE, PRECHARGE, PRECHARGE_ALL, REFRESH, READ, WRITE = 0, 1, 2, 3, 4, 5


@jit
def record(c: Any, tick: int, command: int, bank: int, row: int) -> None:
    """Add a command to the channel's log, if it keeps one and there is room."""
    if 0 <= c.logged < LOG:
        c.log_tick[c.logged] = tick
        c.log_command[c.logged] = command
        c.log_bank[c.logged] = bank
        c.log_row[c.logged] = row
        c.logged += 1


@jit
def bank_of(p: Any, beat: int) -> int:
    """Bank index (bank group · banks per group + bank) of a beat address."""
    low = ((beat >> p.bank_shift0) & p.bank_mask0) << p.bank_into0
    middle = ((beat >> p.bank_shift1) & p.bank_mask1) << p.bank_into1
    high = ((beat >> p.bank_shift2) & p.bank_mask2) << p.bank_into2
    bank: int = (low | middle | high) & (BANKS - 1)
    return bank


@jit
def row_of(p: Any, beat: int) -> int:
    """Row of a beat address."""
    row: int = (beat >> p.row_shift) & p.row_mask
    return row


@jit
def look_ahead(c: Any, p: Any, now: int) -> int:
    """Ask for the rows of all visible bursts in the window; return the tick in which to go on.

    FAR: no further burst is queued, or one must be scheduled first.
    """
    while c.scan_burst < c.pushed and c.scan_burst <= c.head + p.look_ahead:
        slot = c.scan_burst & (QUEUE - 1)
        if c.visible[slot] > now:
            visible: int = c.visible[slot]
            return visible
        if not _ask_run(c, p, slot):
            return FAR
        if c.scan_beat == c.beats[slot]:
            c.scan_burst += 1
            c.scan_beat = 0
    return FAR


@jit
def _ask_run(c: Any, p: Any, slot: int) -> bool:
    """Ask for the rows of the beats left in the segment; False: a bank is still needed for another row."""
    first = c.beat[slot] + c.scan_beat
    count = min(c.beats[slot] - c.scan_beat, p.segment_mask + 1 - (first & p.segment_mask))
    row = row_of(p, first)
    while c.scan_bank < min(count, p.period):
        bank = bank_of(p, first + c.scan_bank)
        if c.target[bank] != row:
            if c.needed[bank] > 0:
                return False
            c.target[bank] = row
            c.waiting_bank[c.waiting] = bank
            c.waiting += 1
        c.needed[bank] += ((count - c.scan_bank - 1) >> p.period_shift) + 1
        c.scan_bank += 1
    c.scan_bank = 0
    c.scan_beat += count
    return True


@jit
def row_command(c: Any, p: Any, now: int) -> int:
    """Give the row bus to the first waiting bank that may have it; return the tick in which to look again."""
    soonest = FAR
    for i in range(c.waiting):
        bank = c.waiting_bank[i]
        ready = c.precharge_ready[bank] if c.row[bank] >= 0 else _activate_ready(c, p, bank)
        if ready <= now:
            if c.row[bank] >= 0:
                _precharge(c, p, bank, now)
            else:
                _activate(c, p, bank, now)
                _leave(c, i)
            return now + 1
        soonest = min(soonest, ready)
    return soonest


@jit
def _leave(c: Any, i: int) -> None:
    c.waiting -= 1
    for j in range(i, c.waiting):
        c.waiting_bank[j] = c.waiting_bank[j + 1]


@jit
def _activate_ready(c: Any, p: Any, bank: int) -> int:
    group = bank >> p.group_shift
    bus: int = max(c.activate_next, c.window[c.activations & (ACTIVATES - 1)])
    own: int = max(c.activate_ready[bank], c.group_activate[group])
    return max(bus, own)


@jit
def _activate(c: Any, p: Any, bank: int, now: int) -> None:
    c.row[bank] = c.target[bank]
    c.open_banks += 1
    c.found[bank] = max(c.found[bank], CLOSED)
    c.read_ready[bank] = now + p.tRCD_read
    c.write_ready[bank] = now + p.tRCD_write
    c.precharge_ready[bank] = now + p.tRAS
    c.activate_next = now + p.tRRD_S
    c.group_activate[bank >> p.group_shift] = now + p.tRRD_L
    c.window[c.activations & (ACTIVATES - 1)] = now + p.tFAW
    c.activations += 1
    record(c, now, ACTIVATE, bank, c.row[bank])


@jit
def _precharge(c: Any, p: Any, bank: int, now: int) -> None:
    record(c, now, PRECHARGE, bank, c.row[bank])
    close(c, p, bank, now)
    c.found[bank] = CONFLICT


@jit
def close(c: Any, p: Any, bank: int, now: int) -> None:
    """Note that ``bank`` is precharged in ``now``."""
    c.row[bank] = -1
    c.open_banks -= 1
    c.activate_ready[bank] = now + p.tRP
