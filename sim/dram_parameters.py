"""The parameters of a DRAM memory as its kernels read them: one record of integers, timings in ticks."""

import numpy as np

from skipopu.sim.dram_state import Records
from skipopu.spec.memory import Memory
from skipopu.spec.timing import Ticks

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
    "max_burst_beats",
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
        "max_burst_beats": memory.max_burst_beats,
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
