"""Load engine: DDR4 → global buffer and constants. Tensors are striped over the channels beat by beat."""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.ddr_port import DATA, ask_read, may_read
from skipopu.sim.engine import begin, leave_queue, retire
from skipopu.sim.global_buffer import can_write
from skipopu.sim.machine import HISTORY, Machine
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, DDR_BEAT_BYTES, TRANSFER_STAGES

ENGINE = 1


@jit
def load(m: Machine) -> None:
    """One cycle: request, and take one word from every channel into the gear that cuts row tiles."""
    ld, w = m.load, m.work
    instruction = begin(m, ENGINE)
    ld.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if instruction < 0:
        return
    since = m.total.now - w[instruction].first
    ld.cause = causes.BUSY  # works out how much to move
    if since < TRANSFER_STAGES:
        return
    constants = w[instruction].traffic == Traffic.CONSTANTS
    if since == TRANSFER_STAGES:
        _begin_transfer(m, instruction, constants)
    _request(m, w[instruction].address)
    ld.cause = causes.DDR
    if ld.history[(m.total.now - m.p.crossing_stages) % HISTORY] > ld.popped:
        _take(m, constants)
    if not constants:
        _write_tile(m, w[instruction].stream)
    elif ld.popped == ld.requested and ld.left == 0:
        ld.tiles = 0
    if ld.tiles == 0 and ld.left == 0 and ld.popped == ld.requested:
        leave_queue(m, ENGINE)
        retire(m, ENGINE, instruction)


@jit
def _begin_transfer(m: Machine, instruction: int, constants: bool) -> None:
    """Whole words of all channels, the last one filled up."""
    ld, w = m.load, m.work
    unit, word = DDR_BEAT_BYTES if constants else m.p.tile_bytes, DDR_BEAT_BYTES * m.p.ddr_channels
    ld.beats = (w[instruction].amount * unit + word - 1) // word  # of each channel
    ld.left, ld.gear, ld.tiles = ld.beats, 0, w[instruction].amount
    m.counts.traffic[w[instruction].phase, w[instruction].traffic] += ld.beats * word


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
        if not may_read(m, channel):
            return
    for channel in range(p.ddr_channels):
        ask_read(m, channel, offset, beats, DATA)
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
    if ld.tiles > 0 and ld.gear >= m.p.tile_bytes and can_write(m, 0):
        ld.gear -= m.p.tile_bytes
        ld.tiles -= 1
        ld.cause = causes.BUSY
        if stream:
            m.pe.stream_tiles += 1
