"""Column commands of a DRAM channel.

Bursts leave in the order they came. When the first beat of the oldest burst can go out, the burst is
scheduled as far as its rows are open: each beat in the first tick its bank, its bank group and the buses
allow, and before the next refresh is due.

Beats are scheduled in runs. Within a segment (`dram_parameters`) the address map visits banks
periodically, so that once the first beat of each bank is on time, all are: they go out ``stride`` ticks
apart. Where that is not certain a run is one beat. The length of runs is a matter of speed only; no command
depends on it.
"""

from typing import Any

from skipopu.numerics.jit import jit
from skipopu.sim.dram_returns import expect_reads, expect_response
from skipopu.sim.dram_rows import READ, WRITE, bank_of, record, row_of
from skipopu.sim.dram_state import CLOSED, FAR, QUEUE


@jit
def columns(c: Any, p: Any, now: int) -> int:
    """Schedule the oldest burst if its first beat can go in ``now``; return the next tick one may go.

    FAR: no burst is queued, or its row is not open.
    """
    if c.head == c.scan_burst and c.scan_beat == c.head_done and c.scan_bank == 0:
        return FAR
    slot = c.head & (QUEUE - 1)
    beats = c.beats[slot]
    tick = max(now, _ready(c, p, slot, c.beat[slot] + c.head_done))
    if tick > now:
        return tick
    while tick < c.next_refresh:
        count = _run(c, p, slot, tick)
        _issue(c, p, slot, tick, count)
        if c.head_done == beats:
            c.head += 1
            c.head_done = 0
            break
        tick = _ready(c, p, slot, c.beat[slot] + c.head_done)
    following: int = c.column_next
    return following


@jit
def _ready(c: Any, p: Any, slot: int, beat: int) -> int:
    """Tick in which ``beat`` of the burst in ``slot`` may go if it is next; FAR while its row is not open."""
    bank = bank_of(p, beat)
    if c.row[bank] != row_of(p, beat):
        return FAR
    bus: int = max(c.column_next, c.write_next if c.is_write[slot] else c.read_next)
    return max(bus, _bank_ready(c, p, slot, bank))


@jit
def _bank_ready(c: Any, p: Any, slot: int, bank: int) -> int:
    group = bank >> p.group_shift
    ready: int = max(c.group_column[group], c.write_ready[bank])
    if not c.is_write[slot]:
        ready = max(max(c.group_column[group], c.group_read[group]), c.read_ready[bank])
    return ready


@jit
def _run(c: Any, p: Any, slot: int, tick: int) -> int:
    """Beats that are certain to go ``stride`` apart from ``tick`` on: all left in the segment, or one."""
    first = c.beat[slot] + c.head_done
    count: int = min(c.beats[slot] - c.head_done, p.segment_mask + 1 - (first & p.segment_mask))
    if p.stride == 0 or tick + (count - 1) * p.stride >= c.next_refresh:
        return 1
    row = row_of(p, first)
    for j in range(1, min(count, p.period)):
        bank = bank_of(p, first + j)
        if c.row[bank] != row or _bank_ready(c, p, slot, bank) > tick + j * p.stride:
            return 1
    return count


@jit
def _issue(c: Any, p: Any, slot: int, tick: int, count: int) -> None:
    """Schedule a run of ``count`` beats from ``tick`` on."""
    first = c.beat[slot] + c.head_done
    last = tick + (count - 1) * p.stride
    is_write = c.is_write[slot] != 0
    for j in range(min(count, p.period)):
        bank = bank_of(p, first + j)
        uses = ((count - 1 - j) >> p.period_shift) + 1
        _use_bank(c, p, bank, tick + (j + ((uses - 1) << p.period_shift)) * p.stride, uses, is_write)
    c.head_done += count
    c.column_next = last + p.tCCD_S
    is_last = c.head_done == c.beats[slot]
    if is_write:
        c.write_beats += count
        c.read_next = last + p.tCWL + p.tCCD_S + p.tWTR_S
        if is_last:
            expect_response(c, last + p.tCWL + p.response_latency)
    else:
        c.read_beats += count
        c.write_next = last + p.tRTW
        expect_reads(c, tick + p.tCL + p.response_latency, count, c.tag[slot] * 2 + is_last)
    if c.logged >= 0:
        _log(c, p, first, tick, count, is_write)


@jit
def _use_bank(c: Any, p: Any, bank: int, last: int, uses: int, is_write: bool) -> None:
    """Note ``uses`` beats in ``bank``, the last of them in tick ``last``."""
    c.needed[bank] -= uses
    c.row_hits += uses
    if c.found[bank] != 0:
        _count_opened(c, bank)
    group = bank >> p.group_shift
    c.group_column[group] = max(c.group_column[group], last + p.tCCD_L)
    free = last + p.tRTP
    if is_write:
        data_end = last + p.tCWL + p.tCCD_S
        c.group_read[group] = max(c.group_read[group], data_end + p.tWTR_L)
        free = data_end + p.tWR
    c.precharge_ready[bank] = max(c.precharge_ready[bank], free)


@jit
def _count_opened(c: Any, bank: int) -> None:
    """The first beat after an activate is no row hit."""
    c.row_hits -= 1
    c.row_closed += c.found[bank] == CLOSED
    c.row_misses += c.found[bank] != CLOSED
    c.found[bank] = 0


@jit
def _log(c: Any, p: Any, first: int, tick: int, count: int, is_write: bool) -> None:
    for j in range(count):
        bank = bank_of(p, first + j)
        record(c, tick + j * p.stride, WRITE if is_write else READ, bank, c.row[bank])
