"""PE array: one activation row a cycle times the loaded weight tile, summed in a PSUM half."""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.engine import begin, leave_queue
from skipopu.sim.machine import FAR, IN_FLIGHT, Machine
from skipopu.sim.work import CONSTANT_TILE, KV_TILE, NO_TILE

ENGINE = 5


@jit
def pe_array(m: Machine) -> None:
    """One cycle: issue a row of the current tile if tile, rows and PSUM half are there."""
    pe, w = m.pe, m.work
    if pe.instruction < 0:
        _start(m)
    i = pe.instruction
    if i < 0:
        return
    pe.cause = _obstacle(m, i)
    if pe.cause != causes.BUSY:
        return
    if w[i].source == NO_TILE:
        pe.cause = causes.IDLE  # statistics pass by; nothing is multiplied
    pe.row += 1
    m.total.progress = m.total.now
    if pe.row < w[i].tile_rows:
        return
    pe.row = 0
    pe.tile += 1
    if pe.tile % w[i].depth == 0:
        _close_block(m, i)
    if pe.tile == pe.tiles:
        pe.instruction = -1
        leave_queue(m, ENGINE)


@jit
def _start(m: Machine) -> None:
    """Take the next matrix operation; a fenced one waits until the results before it are written."""
    pe, npe, w = m.pe, m.npe, m.work
    i = begin(m, ENGINE)
    pe.cause = causes.SEMAPHORE if m.engines.blocked[ENGINE] else causes.IDLE
    if i < 0:
        return
    flying = npe.flight_tail - npe.flight_head
    if flying == IN_FLIGHT or (w[i].fence and flying > 0):
        pe.cause = causes.DRAINING
        return
    m.work[i].first = m.total.now
    slot = npe.flight_tail % IN_FLIGHT
    npe.flight[slot], npe.finish[slot] = i, FAR
    npe.flight_tail += 1
    if w[i].rows == 0:
        npe.finish[slot] = m.total.now
        leave_queue(m, ENGINE)
        return
    pe.instruction = i
    pe.tiles = w[i].blocks * w[i].depth
    pe.loaded = pe.filled = pe.tile = pe.row = pe.fill_row = pe.gear = 0


@jit
def _obstacle(m: Machine, i: int) -> int:
    """Return what keeps the next row from being issued, BUSY if nothing."""
    pe, npe, w = m.pe, m.npe, m.work
    if pe.row == 0:
        if pe.filled <= pe.tile or pe.ready[pe.tile & 1] > m.total.now:
            rows_missing = True
        else:
            rows_missing = False
        if pe.loaded <= pe.tile:
            if w[i].source == CONSTANT_TILE or w[i].source == NO_TILE:
                return pe.fill_cause if rows_missing else causes.ROWS
            return causes.KV if w[i].source == KV_TILE else causes.WEIGHTS
        if rows_missing:
            return pe.fill_cause  # type: ignore[no-any-return]
        if pe.tile % w[i].depth == 0 and npe.drain_tail - npe.drain_head == 2:
            return causes.BACKPRESSURE
    return causes.BUSY


@jit
def _close_block(m: Machine, i: int) -> None:
    """Hand the PSUM half over to the NPE once its last sums are in."""
    npe, w = m.npe, m.work
    half = npe.drain_tail & 1
    npe.drain_ready[half] = m.total.now + (0 if w[i].source == NO_TILE else m.p.pe_latency)
    npe.drain_slots[half] = w[i].drain_slots
    npe.drain_last[half] = 1 if m.pe.tile == m.pe.tiles else 0
    npe.drain_tail += 1
