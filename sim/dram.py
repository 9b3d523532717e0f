"""A DRAM memory at the level of banks and commands: many independent channels, advanced tick by tick.

    dram = new_dram(board.hbm)
    push(dram, channel, address, beats, is_write, tag, now)      # while free_slots(dram, channel) > 0
    beat = tick(dram, channel, now)                              # for every now, once a channel

A channel is an open-page controller with an in-order queue: column commands in the order of arrival, row
commands for the bursts behind the head while they wait (`dram_rows`), all-bank refresh every tREFI. Row and
column commands have a bus each, one command a tick. An idle channel answers a read after request latency +
tCL + response latency, + tRCD if the bank is precharged, + tRP + tRCD if another row is open.

``channels[channel].wake`` is the first tick in which anything can happen; `tick` returns at once before it,
and a caller may leave such calls out.
"""

from typing import NamedTuple

from skipopu.numerics.jit import jit
from skipopu.sim.dram_channel import advance
from skipopu.sim.dram_parameters import parameter_record
from skipopu.sim.dram_returns import next_of_run, set_wake
from skipopu.sim.dram_state import QUEUE, Records, channel_records
from skipopu.spec.memory import Memory
from skipopu.spec.overlay import BOUNDARY

COUNTERS = ("row_hits", "row_closed", "row_misses", "activations", "refreshes", "read_beats", "write_beats")


class Dram(NamedTuple):
    """State of one memory: record arrays ``channels`` [channel] and ``parameters`` [1]; see `dram_state`."""

    channels: Records
    parameters: Records


def new_dram(memory: Memory, channels: int | None = None) -> Dram:
    """Return a memory at tick 0, idle, all rows closed, with ``channels`` channels or all of the board's."""
    state = channel_records(memory, memory.channels if channels is None else channels)
    return Dram(state, parameter_record(memory))


def counters(dram: Dram) -> dict[str, int]:
    """Return what all channels counted so far.

    ``row_hits``, ``row_closed``, ``row_misses``: beats that found their row open, their bank precharged,
    another row open; ``read_beats``, ``write_beats``: column commands, as many as the three together.
    """
    return {name: int(dram.channels[name].sum()) for name in COUNTERS}


@jit
def free_slots(dram: Dram, channel: int) -> int:
    """Bursts the channel accepts now: queue depth less those whose last beat or response is still out."""
    c = dram.channels[channel]
    free: int = dram.parameters[0].queue_depth - (c.pushed - c.finished)
    return free


@jit
def push(dram: Dram, channel: int, address: int, beats: int, is_write: bool, tag: int, now: int) -> None:
    """Accept one AXI burst in tick ``now``; the caller has seen a free slot.

    ``address``: byte address in the channel (higher bits are ignored), a multiple of the beat; ``beats``: 1
    to max_burst_beats, not across a 4 KiB boundary; ``tag``: 0 to 2³⁰ − 1, comes back with each read beat.
    The data of a write come with the request. Raises ValueError for a burst that no port would take.
    """
    c = dram.channels[channel]
    p = dram.parameters[0]
    if not 1 <= beats <= p.max_burst_beats or address % BOUNDARY + (beats << p.address_shift) > BOUNDARY:
        raise ValueError("an AXI burst must have 1 to max_burst_beats beats and stay inside 4 KiB")
    if c.pushed - c.finished >= p.queue_depth:
        raise ValueError("a burst was pushed to a DRAM channel without a free slot")
    slot = c.pushed & (QUEUE - 1)
    visible = now + p.request_latency
    c.visible[slot] = visible
    c.beat[slot] = address >> p.address_shift
    c.beats[slot] = beats
    c.is_write[slot] = is_write
    c.tag[slot] = tag
    if c.scan_burst == c.pushed:  # otherwise the scheduler finds this one after those before it
        c.schedule_at = min(c.schedule_at, visible)
        c.wake = min(c.wake, visible)
    c.pushed += 1


@jit
def tick(dram: Dram, channel: int, now: int) -> int:
    """Advance the channel by one tick; return tag · 2 + is_last of the read beat delivered in it, or −1."""
    c = dram.channels[channel]
    if now < c.wake:
        return -1
    if now < c.schedule_at and now < c.write_at and c.run_left > 1:  # most ticks of a busy channel
        return next_of_run(c, dram.parameters[0])
    return advance(c, dram.parameters[0], now)


@jit
def run_of_beats(dram: Dram, channel: int, now: int, ticks: int) -> int:
    """Advance a channel by ``ticks`` ticks in which nothing happens but a read beat in each.

    None of the beats may be its burst's last. Returns tag · 2 of the beats, or −1 where that is not so: the
    caller then goes tick by tick. The same as ``ticks`` calls of `tick`, for less.
    """
    c = dram.channels[channel]
    after = now + ticks
    if c.read_at != now or c.run_left <= ticks or c.schedule_at < after or c.write_at < after:
        return -1
    if dram.parameters[0].stride != 1:
        return -1
    c.run_left -= ticks
    c.read_at = after
    set_wake(c)
    code: int = c.run_current & ~1
    return code
