"""What a DRAM channel remembers, and its parameters in ticks.

One record a channel, so that a kernel passes one pointer and a channel's state lies together in the cache.
Every tick is an absolute cycle of the memory's AXI clock; FAR means never.
"""

from typing import Any

import numpy as np

from skipopu.spec.memory import Memory
from skipopu.spec.timing import Ticks

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

ORGANISATION = (
    "banks",
    "group_shift",  # bank index >> group_shift = bank group
    "period_shift",
    "period",  # consecutive beats before a bank comes again: 2^(address bits below the lowest column bit)
    "segment_mask",  # aligned consecutive beats over which that holds and each bank keeps its row, less one
    "stride",  # ticks between beats of a segment once each bank's first is on time; 0: not always the same
    "row_shift",
    "row_mask",
    *(f"bank_{what}{i}" for i in range(3) for what in ("shift", "mask", "into")),
    "address_shift",
    "queue_depth",
    "look_ahead",
    "request_latency",
    "response_latency",
)
PARAMETERS = np.dtype([(name, "i8") for name in (*ORGANISATION, *Ticks._fields)])


def parameter_record(memory: Memory) -> Records:
    """Return the parameters of ``memory`` as a record array of shape [1]."""
    record = np.zeros(1, PARAMETERS).view(np.recarray)
    values = {**_organisation(memory), **_bank_fields(memory), **memory.ticks._asdict()}
    for name, value in values.items():
        record[name] = value
    return record


def _organisation(memory: Memory) -> dict[str, int]:
    column = next(f for f in memory.address_fields if f.name == "C")
    row = next(f for f in memory.address_fields if f.name == "R")
    return {
        "banks": memory.banks,
        "group_shift": memory.banks_per_group.bit_length() - 1,
        "period_shift": column.shift,
        "period": 1 << column.shift,
        "stride": _stride(memory, 1 << column.shift),
        "segment_mask": (1 << column.shift + column.bits) - 1,
        "row_shift": row.shift,
        "row_mask": memory.rows - 1,
        "address_shift": memory.beat_bytes.bit_length() - 1,
        "queue_depth": memory.queue_depth,
        "look_ahead": memory.look_ahead,
        "request_latency": memory.request_latency,
        "response_latency": memory.response_latency,
    }


def _stride(memory: Memory, period: int) -> int:
    """Ticks from column to column of a segment: tCCD_S, or tCCD_L where neighbours share their bank group."""
    fields = [f for f in memory.address_fields if f.name == "G"]
    groups = [sum((beat >> f.shift) % (1 << f.bits) << f.into for f in fields) for beat in range(2 * period)]
    again = (j - i for i in range(period) for j in range(i + 1, i + period + 1) if groups[i] == groups[j])
    distance = min(again)
    short, long = memory.ticks.tCCD_S, memory.ticks.tCCD_L
    if distance == 1 == period:
        return max(short, long)
    return short if distance * short >= long else 0


def _bank_fields(memory: Memory) -> dict[str, int]:
    """Bank index = bank group · banks per group + bank, gathered from up to three fields of the address."""
    group_into = memory.banks_per_group.bit_length() - 1
    record: dict[str, int] = {}
    for i, field in enumerate(f for f in memory.address_fields if f.name in "GB"):
        record[f"bank_shift{i}"] = field.shift
        record[f"bank_mask{i}"] = (1 << field.bits) - 1
        record[f"bank_into{i}"] = field.into + (group_into if field.name == "G" else 0)
    return record


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
