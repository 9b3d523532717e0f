"""What a DRAM channel remembers.

One record a channel, so that a kernel passes one pointer and a channel's state lies together in the cache.
Every tick is an absolute cycle of the memory's AXI clock; FAR means never.
"""

from typing import Any

import numpy as np

from skipopu.spec.memory import Memory

FAR = 1 << 60
QUEUE = 64  # entries of the request ring; spec bounds queue_depth by it
RUNS = 256  # entries of the ring of read beats on their way; spec bounds keep latency + burst below it
BANKS = 32  # spec bounds bank_groups · banks_per_group by it
ACTIVATES = 4  # of a tFAW window
LOG = 128  # entries of the command log: more than one tick can schedule
CLOSED, CONFLICT = 1, 2  # why the row that a bank's next column command uses was opened

Records = np.recarray[Any, Any]

CHANNEL = np.dtype(
    [
        ("wake", "i8"),  # nothing happens before this tick: the least of the next three
        ("schedule_at", "i8"),  # next tick in which a command may go out or a request becomes visible
        ("read_at", "i8"),  # next read beat delivered
        ("write_at", "i8"),  # next write response
        # the run of read beats that is being delivered
        ("run_left", "i8"),  # its beats to come
        ("run_current", "i8"),  # its code: tag · 2 + 1 if it ends its burst
        ("next_refresh", "i8"),
        # request queue: absolute indices, entry i lies at i % QUEUE
        ("pushed", "i8"),
        ("head", "i8"),  # oldest burst whose column commands are not all scheduled
        ("head_done", "i8"),  # its beats scheduled so far
        ("finished", "i8"),  # bursts whose last beat or response was delivered
        ("visible", "i8", (QUEUE,)),  # tick in which the scheduler sees the request
        ("beat", "i8", (QUEUE,)),  # beat address of its first beat
        ("beats", "i4", (QUEUE,)),
        ("is_write", "i4", (QUEUE,)),
        ("tag", "i4", (QUEUE,)),
        # look-ahead: up to where the rows of queued bursts have been asked for
        ("scan_burst", "i8"),
        ("scan_beat", "i8"),
        ("scan_bank", "i8"),
        ("waiting", "i8"),  # banks that need a row command, in the order asked
        ("waiting_bank", "i4", (BANKS,)),
        # banks
        ("open_banks", "i8"),
        ("row", "i8", (BANKS,)),  # open row, −1 precharged
        ("target", "i8", (BANKS,)),  # row that the beats asked for need, −1 none
        ("needed", "i8", (BANKS,)),  # beats asked for and not yet scheduled
        ("found", "i4", (BANKS,)),  # CLOSED, CONFLICT, or 0 if no row command since its last column command
        ("activate_ready", "i8", (BANKS,)),
        ("precharge_ready", "i8", (BANKS,)),
        ("read_ready", "i8", (BANKS,)),
        ("write_ready", "i8", (BANKS,)),
        # bank groups and the channel's buses
        ("group_activate", "i8", (BANKS,)),
        ("group_column", "i8", (BANKS,)),
        ("group_read", "i8", (BANKS,)),
        ("activate_next", "i8"),
        ("window", "i8", (ACTIVATES,)),  # when each of the last four activates leaves the tFAW window
        ("column_next", "i8"),
        ("read_next", "i8"),
        ("write_next", "i8"),
        # read beats on their way to the port, in runs
        ("runs_issued", "i8"),
        ("runs_delivered", "i8"),
        ("run_tick", "i8", (RUNS,)),  # of the first beat
        ("run_beats", "i4", (RUNS,)),
        ("run_code", "i8", (RUNS,)),
        ("writes_issued", "i8"),
        ("response", "i8", (QUEUE,)),  # tick
        # counters
        ("write_responses", "i8"),
        ("row_hits", "i8"),
        ("row_closed", "i8"),
        ("row_misses", "i8"),
        ("activations", "i8"),
        ("refreshes", "i8"),
        ("read_beats", "i8"),
        ("write_beats", "i8"),
        # log of commands since `logged` was set to 0; −1: none is kept
        ("logged", "i8"),
        ("log_tick", "i8", (LOG,)),
        ("log_command", "i8", (LOG,)),
        ("log_bank", "i8", (LOG,)),
        ("log_row", "i8", (LOG,)),
    ],
    align=True,
)


def channel_records(memory: Memory, channels: int) -> Records:
    """Return ``channels`` idle channels, all rows closed, as a record array of shape [channels].

    Channel c refreshes first at tREFI · (c + 1) / channels with refresh_stagger, else at tREFI.
    """
    state = np.zeros(channels, CHANNEL).view(np.recarray)
    for name in ("read_at", "write_at"):
        state[name] = FAR
    for name in ("row", "target", "logged"):
        state[name] = -1
    phase = np.arange(1, channels + 1) if memory.refresh_stagger else np.full(channels, channels)
    state["next_refresh"] = memory.ticks.tREFI * phase // channels
    state["wake"] = state["schedule_at"] = state["next_refresh"]
    return state
