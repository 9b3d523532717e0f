"""Load engine: DDR4 → global buffer and constants. Tensors are striped over the channels beat by beat.

Also the DDR4 clock: `arrive_ddr` advances both channels by the ticks that fall into a core cycle.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.dram import free_slots, push, tick
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.machine import HISTORY, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, DDR_BEAT_BYTES

ENGINE = 1
DATA, FETCH = 0, 1  # tags of the read bursts in the DDR4 model


@jit
def arrive_ddr(m: Machine) -> None:
    """Advance DDR4 up to this core cycle; a beat counts once all channels delivered theirs."""
    t, p, load = m.total, m.p, m.load
    end = (t.now + 1) * p.ddr_ticks // p.ddr_cycles
    while t.ddr_now < end:
        for channel in range(p.ddr_channels):
            if m.ddr.channels[channel].wake <= t.ddr_now:
                beat = tick(m.ddr, channel, t.ddr_now)
                if beat >= 0:
                    t.progress = t.now
                    if beat >> 1 == DATA:
                        load.channel_beats[channel] += 1
                    else:
                        m.sequencer.fetched_beats += 1
        t.ddr_now += 1
    least = load.channel_beats[0]
    for channel in range(1, p.ddr_channels):
        least = min(least, load.channel_beats[channel])
    load.history[t.now % HISTORY] = least


@jit
def load(m: Machine) -> None:
    """One cycle: request, and take one word from every channel into the gear that cuts row tiles."""
    ld, p = m.load, m.p
    instruction = begin(m, ENGINE)
    ld.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    w = m.work
    constants = w[instruction].traffic == Traffic.CONSTANTS
    unit = DDR_BEAT_BYTES if constants else p.tile_bytes
    if m.work[instruction].first == m.total.now:
        word = DDR_BEAT_BYTES * p.ddr_channels
        ld.beats = (w[instruction].amount * unit + word - 1) // word  # of each channel
        ld.left, ld.gear, ld.tiles = ld.beats, 0, w[instruction].amount
        m.counts.traffic[w[instruction].phase, w[instruction].traffic] += ld.beats * word
    _request(m, w[instruction].address)
    ld.cause = causes.DDR
    if ld.history[(m.total.now - p.crossing_stages) % HISTORY] > ld.popped and ld.popped < ld.requested:
        _take(m, constants)
    if not constants:
        _write_tile(m, w[instruction].stream)
    elif ld.popped == ld.requested and ld.left == 0:
        ld.tiles = 0
    if ld.tiles == 0 and ld.left == 0 and ld.popped == ld.requested:
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _request(m: Machine, address: int) -> None:
    """One burst on every channel where the FIFOs have room."""
    ld, p = m.load, m.p
    if ld.left == 0:
        return
    offset = (address // p.ddr_channels + ld.beats - ld.left) * DDR_BEAT_BYTES
    beats = min(ld.left, AXI3_BURST_BEATS, (BOUNDARY - offset % BOUNDARY) // DDR_BEAT_BYTES)
    if ld.requested + beats - ld.popped > p.ddr_beats:
        return
    for channel in range(p.ddr_channels):
        if free_slots(m.ddr, channel) == 0:
            return
    for channel in range(p.ddr_channels):
        push(m.ddr, channel, offset, beats, False, DATA, m.total.ddr_now)
    ld.left -= beats
    ld.requested += beats


@jit
def _take(m: Machine, constants: bool) -> None:
    ld, p = m.load, m.p
    if not constants and ld.gear >= p.tile_bytes:
        ld.cause = causes.BACKPRESSURE  # narrow tiles leave one a cycle
        return
    ld.popped += 1
    ld.gear += DDR_BEAT_BYTES * p.ddr_channels
    ld.cause = causes.BUSY
    window = m.counts.window
    kind = Traffic.CONSTANTS if constants else Traffic.ACTIVATIONS_READ
    window[kind] += DDR_BEAT_BYTES * p.ddr_channels


@jit
def _write_tile(m: Machine, stream: int) -> None:
    """Write one row tile to the global buffer; a streaming load hands it to the route at the same time."""
    ld = m.load
    if ld.tiles > 0 and ld.gear >= m.p.tile_bytes:
        ld.gear -= m.p.tile_bytes
        ld.tiles -= 1
        ld.cause = causes.BUSY
        if stream:
            m.pe.stream_tiles += 1
