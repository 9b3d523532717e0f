"""Store engine: global buffer → DDR4, one row tile a cycle, write bursts on both channels."""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.ddr_port import ask_write, may_write, send_write_beats, writes_pending
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.global_buffer import can_read, read
from skipopu.sim.machine import HISTORY, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, DDR_BEAT_BYTES, STORE_BEATS, TRANSFER_STAGES

ENGINE = 2


@jit
def store(m: Machine) -> None:
    """One cycle: read a tile, ask for a burst whose data are there, retire when every burst is acknowledged."""
    s, w = m.store, m.work
    s.read_history[m.total.now % HISTORY] = s.read_history[(m.total.now - 1) % HISTORY]
    instruction = begin(m, ENGINE)
    s.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    since = m.total.now - w[instruction].first
    s.cause = causes.BUSY  # works out how much to move
    if since < TRANSFER_STAGES:
        return
    if since == TRANSFER_STAGES:
        _begin_transfer(m, instruction)
    _read_tile(m)
    send_write_beats(m)
    _push(m, w[instruction].address)
    if s.tiles == 0 and s.pushed_beats == s.beats and not writes_pending(m):
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _begin_transfer(m: Machine, instruction: int) -> None:
    """Whole words of all channels, the last one filled up."""
    s, p, w = m.store, m.p, m.work
    word = DDR_BEAT_BYTES * p.ddr_channels
    s.tiles, s.pushed_beats = w[instruction].amount, 0
    s.beats = (s.tiles * p.tile_bytes + word - 1) // word  # of each channel
    s.first_beat, s.first_tile = m.ddr_ports.sent_beats, s.read_history[m.total.now % HISTORY]
    m.counts.traffic[w[instruction].phase, Traffic.ACTIVATIONS_WRITE] += s.beats * word


@jit
def _read_tile(m: Machine) -> None:
    """Read a row tile where the FIFOs have room for it."""
    s, p = m.store, m.p
    s.cause = causes.DRAINING
    if s.tiles == 0:
        return
    s.cause = causes.DDR
    asked = (s.read_history[m.total.now % HISTORY] - s.first_tile) * p.tile_bytes
    sent = (m.ddr_ports.sent_beats - s.first_beat) * DDR_BEAT_BYTES * p.ddr_channels
    if asked - sent + p.tile_bytes <= STORE_BEATS * DDR_BEAT_BYTES * p.ddr_channels and can_read(m, 1):
        read(m, 1)
        s.read_history[m.total.now % HISTORY] += 1
        s.tiles -= 1
        s.cause = causes.BUSY


@jit
def _push(m: Machine, address: int) -> None:
    """Ask for the next burst once all its words stand in the FIFOs: read, gathered, written."""
    s, p = m.store, m.p
    word = DDR_BEAT_BYTES * p.ddr_channels
    offset = (address // p.ddr_channels + s.pushed_beats) * DDR_BEAT_BYTES
    beats = min(s.beats - s.pushed_beats, AXI3_BURST_BEATS, (BOUNDARY - offset % BOUNDARY) // DDR_BEAT_BYTES)
    if beats == 0 or _words_here(m) - s.pushed_beats < beats or not may_write(m):
        return
    ask_write(m, offset, beats)
    s.pushed_beats += beats
    m.total.progress = m.total.now
    window = m.counts.window
    window[Traffic.ACTIVATIONS_WRITE] += beats * word


@jit
def _words_here(m: Machine) -> int:
    """Words of this transfer that have been written into the FIFOs before this cycle; the last one may be short."""
    s, p = m.store, m.p
    written = s.read_history[(m.total.now - p.read_stages - 1) % HISTORY]
    if s.tiles == 0 and written == s.read_history[m.total.now % HISTORY]:
        return s.beats  # type: ignore[no-any-return]
    return (written - s.first_tile) * p.tile_bytes // (DDR_BEAT_BYTES * p.ddr_channels)  # type: ignore[no-any-return]
