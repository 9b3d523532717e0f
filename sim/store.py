"""Store engine: global buffer → DDR4, one row tile a cycle, write bursts on both channels."""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.dram import free_slots, push
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.machine import Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, DDR_BEAT_BYTES

ENGINE = 2
TAG = 2


@jit
def store(m: Machine) -> None:
    """One cycle: read a tile, push a burst when one is full, retire when every burst is acknowledged."""
    s, p, w = m.store, m.p, m.work
    instruction = begin(m, ENGINE)
    s.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    word = DDR_BEAT_BYTES * p.ddr_channels
    if m.work[instruction].first == m.total.now:
        s.tiles, s.gear, s.pushed_beats = w[instruction].amount, 0, 0
        total = (s.tiles * p.tile_bytes + word - 1) // word
        s.beats = total
        m.counts.traffic[w[instruction].phase, Traffic.ACTIVATIONS_WRITE] += total * word
    if s.tiles > 0:
        # a second burst may fill while the first waits for a slot, no more
        if s.gear < 2 * AXI3_BURST_BEATS * word and m.pe.reads < 1:
            m.pe.reads += 1
            s.gear += p.tile_bytes
            s.tiles -= 1
            s.cause = causes.BUSY
        else:
            s.cause = causes.DDR
    else:
        s.cause = causes.DRAINING
    _push(m, w[instruction].address)
    if s.tiles == 0 and s.pushed_beats == s.beats and _acknowledged(m):
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _push(m: Machine, address: int) -> None:
    s, p = m.store, m.p
    word = DDR_BEAT_BYTES * p.ddr_channels
    offset = (address // p.ddr_channels + s.pushed_beats) * DDR_BEAT_BYTES
    beats = min(s.beats - s.pushed_beats, AXI3_BURST_BEATS, (BOUNDARY - offset % BOUNDARY) // DDR_BEAT_BYTES)
    if beats == 0 or (s.gear < beats * word and s.tiles > 0):
        return
    for channel in range(p.ddr_channels):
        if free_slots(m.ddr, channel) == 0:
            return
    for channel in range(p.ddr_channels):
        push(m.ddr, channel, offset, beats, True, TAG, m.total.ddr_now)
    s.bursts += 1
    s.gear = max(0, s.gear - beats * word)
    s.pushed_beats += beats
    m.total.progress = m.total.now
    window = m.counts.window
    window[Traffic.ACTIVATIONS_WRITE] += beats * word


@jit
def _acknowledged(m: Machine) -> bool:
    for channel in range(m.p.ddr_channels):  # noqa: SIM110  (no generators in kernels)
        if m.ddr.channels[channel].write_responses < m.store.bursts:
            return False
    return True
