"""One pass of K/V reads, cycle by cycle, by the functions that the whole machine steps; see `kv_stream`."""

from typing import Any, NamedTuple

import numpy as np

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.dram import Dram
from skipopu.sim.hbm_ahead import cycles_ahead, run_ahead
from skipopu.sim.kv_buffer import advance_read, begin_read, end_read, read_finished, read_part
from skipopu.sim.kv_rounds import output_valid
from skipopu.sim.machine import TOTAL, KvCache, Record
from skipopu.spec.ledger import Cause, Phase, Traffic
from skipopu.spec.overlay import HBM_BEAT_BYTES

KEY_AND_VALUE = 2
STREAM_TOTAL = [*TOTAL, "hbm_now"]  # core cycle that the memory has come to
READ = np.dtype([
    ("rounds", "i8"),
    ("hbm_bytes", "i8"),  # asked of the HBM ports
    ("buffer_bytes", "i8"),  # from the invariance buffer
    ("chunk_sets", "i8"),  # taken at the output: a chunk of every source of a round
    ("cycles", "i8", (len(Cause),)),  # from the operation's first cycle to its retirement, by cause
])  # fmt: skip


class Reader(NamedTuple):
    """The part of the machine that reads K/V; the fields have the names of those of `Machine`."""

    p: Record
    ports: Record
    kv: Record
    total: Record
    counts: Record
    hbm: Dram


@jit
def read_pass(
    m: Reader, c: KvCache, tokens: Any, views: Any, decode: bool, pairs: int, executed: Any, reads: Any
) -> bool:
    """Read K and V of tokens [0, tokens[layer]) in all layers and add up ``reads`` [layers, 2]; false if nothing moves.

    Whole vectors in decode; in prefill one head pair after the other, its V behind the K of the next one.
    """
    whole = pairs if decode else 1
    for layer in range(len(executed)):
        for pair in range(0, pairs + whole, whole):
            for value in range(KEY_AND_VALUE):
                first = pair - whole * value
                if 0 <= first < pairs:
                    _begin(m, c, executed[layer], decode, value, layer, tokens[layer], views[layer])
                    read_part(m.kv, m.p, first, whole)
                    if not _read(m, c, reads[layer, value]):
                        return False
    return True


@jit
def _begin(
    m: Reader, c: KvCache, executed: bool, decode: bool, value: int, layer: int, tokens: int, view: int
) -> None:
    """The cycle in which an operation is taken."""
    _arrive(m)
    begin_read(m.kv, c, m.total.now, executed, decode, value, layer, tokens, view)
    m.total.progress = m.total.now
    m.total.now += 1


@jit
def _read(m: Any, c: KvCache, read: Record) -> bool:
    """Step the operation to its end and add what it came to to ``read``; false when nothing moves any more."""
    k, t, phase = m.kv, m.total, Phase.DECODE if m.kv.decode else Phase.PREFILL
    hbm, buffer = m.counts.traffic[phase, Traffic.KV_READ], m.counts.buffer_bytes[phase]
    read.cycles[causes.KV] += 1
    while k.active:
        _arrive(m)
        if read_finished(k, c, t.now):
            end_read(k, c)
            k.cause = causes.DRAINING
        else:
            k.taken = output_valid(k, m.p)
            read.chunk_sets += k.taken
            advance_read(m, c, phase)
            k.taken = 0
        read.cycles[k.cause] += 1
        t.now += 1
        if t.now - t.progress > m.p.watchdog:
            return False
    read.rounds += c.schedule.s.rounds
    read.hbm_bytes += m.counts.traffic[phase, Traffic.KV_READ] - hbm
    read.buffer_bytes += m.counts.buffer_bytes[phase] - buffer
    return True


@jit
def _arrive(m: Reader) -> None:
    """Let the memory go on when the core has come to where it stands."""
    t = m.total
    if t.now < t.hbm_now:
        return
    cycles = cycles_ahead(m.p, m.hbm)
    beats = run_ahead(m.ports, m.p, m.hbm, t.now, cycles)
    m.counts.window[Traffic.KV_READ] += beats * HBM_BEAT_BYTES
    t.hbm_now += cycles
    if beats > 0:
        t.progress = t.now
