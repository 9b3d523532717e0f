"""PE array: one activation row a cycle times the loaded weight tile, summed in a PSUM half.

The upper half of this file is the block alone, as `skipopu.hdl.pe_array` builds it; the lower half binds it to
the sequencer's queue and to the sources of its tiles.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.engine import begin, leave_queue
from skipopu.sim.ifm import row_ready
from skipopu.sim.machine import FAR, IN_FLIGHT, Machine, Record
from skipopu.sim.psum import close_block, psum_free
from skipopu.sim.tile_source import CONSTANT_TILE, KV_TILE, NO_TILE

ENGINE = 5


@jit
def begin_operation(
    pe: Record, ker: Record, ifm: Record, now: int, blocks: int, depth: int, rows: int
) -> None:
    """Accept ``blocks`` column blocks of ``depth`` tiles of ``rows`` rows; the buffers start a cycle later."""
    pe.tiles, pe.depth, pe.rows = blocks * depth, depth, rows
    pe.tile = pe.row = ker.loaded = ker.gear = ifm.requested = ifm.issued = 0
    for half in range(2):
        ker.writable[half] = max(ker.writable[half], now + 1)


@jit
def weights_ready(pe: Record, ker: Record) -> bool:
    """The weights of the current tile are loaded; KER steps later in a cycle, so since the cycle before."""
    return ker.loaded > pe.tile  # type: ignore[no-any-return]


@jit
def obstacle(pe: Record, ker: Record, ifm: Record, psum: Record, now: int) -> int:
    """Return what keeps the next row from being issued, BUSY if nothing."""
    if not weights_ready(pe, ker):
        return causes.WEIGHTS
    if not row_ready(ifm, now):
        return causes.ROWS
    if pe.row == 0 and pe.tile % pe.depth == 0 and not psum_free(psum, now):
        return causes.BACKPRESSURE
    return causes.BUSY


@jit
def issue(pe: Record, ker: Record, ifm: Record, now: int, broadcast: int) -> bool:
    """Issue a row; True when it is the last one of its column block.

    Its weights are used ``broadcast`` cycles later: only then may KER's half be written again.
    """
    ifm.issued += 1
    pe.row += 1
    if pe.row < pe.rows:
        return False
    ker.writable[pe.tile & 1] = now + broadcast
    pe.row = 0
    pe.tile += 1
    return pe.tile % pe.depth == 0  # type: ignore[no-any-return]


@jit
def pe_array(m: Machine) -> None:
    """One cycle: issue a row of the current tile if tile, rows and PSUM half are there."""
    pe, w, now = m.pe, m.work, m.total.now
    if pe.instruction < 0:
        pe.part = pe.following
        _start(m)
    i = pe.instruction
    if i < 0:
        return
    pe.cause = obstacle(pe, m.ker, m.ifm, m.psum, now)
    if pe.cause != causes.BUSY:
        pe.cause = _cause(m, w[i].source, pe.cause)
        return
    if w[i].source == NO_TILE:
        pe.cause = causes.IDLE  # statistics pass by; nothing is multiplied
    m.total.progress = now
    if issue(pe, m.ker, m.ifm, now, m.p.broadcast_stages):
        last = 1 if pe.tile == pe.tiles else 0
        latency = 0 if w[i].source == NO_TILE else m.p.pe_latency
        m.psum.operation[m.psum.tail & 1] = i
        close_block(m.psum, now, latency, w[i].results, last)
    if pe.tile == pe.tiles:
        pe.instruction = -1
        _leave(m, i)


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
        _leave(m, i)
        return
    pe.instruction = i
    begin_operation(pe, m.ker, m.ifm, m.total.now, w[i].blocks, w[i].depth, w[i].tile_rows)


@jit
def _leave(m: Machine, instruction: int) -> None:
    """From the next cycle on the array waits for the instruction after this one."""
    m.pe.following = m.work[instruction].following
    leave_queue(m, ENGINE)


@jit
def _cause(m: Machine, source: int, cause: int) -> int:
    """Name the stream behind a missing tile or row."""
    if cause == causes.WEIGHTS:
        if source in (CONSTANT_TILE, NO_TILE):
            return causes.ROWS if row_ready(m.ifm, m.total.now) else m.ifm.cause
        return causes.KV if source == KV_TILE else causes.WEIGHTS
    return m.ifm.cause if cause == causes.ROWS else cause
