"""PE array: one activation row a cycle times the loaded weight tile, summed in a PSUM half.

The upper half of this file is the block alone, as `skipopu.hdl.pe_array` builds it; the lower half binds it to
the sequencer's queue and to the sources of its tiles.
"""

from skipopu.numerics.jit import jit
from skipopu.program.isa import Opcode
from skipopu.sim import causes
from skipopu.sim.engine import begin, leave_queue
from skipopu.sim.ifm import row_ready
from skipopu.sim.machine import FAR, Machine, Record
from skipopu.sim.psum import close_block, psum_free
from skipopu.sim.tile_source import CONSTANT_TILE, KV_TILE, NO_TILE
from skipopu.spec.overlay import IN_FLIGHT

ENGINE = 5
SCORES = int(Opcode.SCORES)  # an enumeration is none of Numba's types


@jit
def begin_operation(
    pe: Record, ker: Record, ifm: Record, now: int, source: int, blocks: int, depth: int, rows: int, dynamic: bool
) -> None:
    """Accept ``blocks`` column blocks of ``depth`` tiles of ``rows`` rows; the buffers start a cycle later.

    ``dynamic``: that is one K/V round, and there are as many as are announced.
    """
    pe.source, pe.began, pe.dynamic = source, now, dynamic
    pe.tiles, pe.depth, pe.rows = blocks * depth, depth, rows
    pe.tile = pe.row = pe.ended = 0
    ker.loaded = ker.over = ker.gear = ker.used = 0
    ifm.requested = ifm.issued = ifm.announced = ifm.ended = 0
    for half in range(2):
        ker.writable[half] = max(ker.writable[half], now + 1)


@jit
def multiplies(pe: Record) -> bool:
    """The operation's rows meet weights; else they only pass, for their statistics or to be written back."""
    return pe.source != NO_TILE  # type: ignore[no-any-return]


@jit
def weights_ready(pe: Record, ker: Record) -> bool:
    """The weights of the current tile are loaded; KER steps later in a cycle, so since the cycle before."""
    return ker.loaded > pe.tile  # type: ignore[no-any-return]


@jit
def obstacle(pe: Record, ker: Record, ifm: Record, psum: Record, now: int) -> int:
    """Return what keeps the next row from being issued, BUSY if nothing."""
    if multiplies(pe) and not weights_ready(pe, ker):
        return causes.WEIGHTS
    if not row_ready(ifm, now):
        return causes.ROWS
    if multiplies(pe) and pe.row == 0 and pe.tile % pe.depth == 0 and not psum_free(psum, now):
        return causes.BACKPRESSURE
    return causes.BUSY


@jit
def issue(pe: Record, ker: Record, ifm: Record, now: int, broadcast: int) -> bool:
    """Issue a row; True when it is the last one of its column block, and ``pe.ended`` when it is the operation's.

    Its weights are used ``broadcast`` cycles later: only then may KER's half be written again. With weights it is KER
    that knows which tile is the last.
    """
    ifm.issued += 1
    pe.row += 1
    if pe.row < pe.rows:
        return False
    pe.row = 0
    pe.tile += 1
    if multiplies(pe):
        ker.writable[(pe.tile - 1) & 1] = now + broadcast
        pe.ended = ker.over and pe.tile == ker.loaded
    else:
        pe.ended = pe.tile == pe.tiles
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
        pe.cause = _cause(m, pe.source, pe.cause)
        return
    if not multiplies(pe):
        pe.cause = causes.IDLE
    m.total.progress = now
    if issue(pe, m.ker, m.ifm, now, m.p.broadcast_stages) and multiplies(pe):
        m.psum.operation[m.psum.tail & 1] = i
        close_block(m.psum, now, m.p.pe_latency, w[i].results, pe.ended)
    if pe.ended:
        _end(m, i)


@jit
def _end(m: Machine, i: int) -> None:
    """The last row is issued; without sums only what its tiles go to at the NPE is left."""
    npe = m.npe
    m.pe.instruction = -1
    if not multiplies(m.pe):
        npe.finish[(npe.flight_tail - 1) % IN_FLIGHT] = m.total.now + m.work[i].result_stages
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
    dynamic = w[i].opcode == SCORES
    blocks = w[i].round_blocks if dynamic else w[i].blocks
    begin_operation(pe, m.ker, m.ifm, m.total.now, w[i].source, blocks, w[i].depth, w[i].tile_rows, dynamic)


@jit
def _leave(m: Machine, instruction: int) -> None:
    """From the next cycle on the array waits for the instruction after this one."""
    m.pe.following = m.work[instruction].following
    leave_queue(m, ENGINE)


@jit
def _cause(m: Machine, source: int, cause: int) -> int:
    """Name the stream behind a missing tile or row."""
    if cause == causes.WEIGHTS:
        if source == CONSTANT_TILE:
            return causes.ROWS if row_ready(m.ifm, m.total.now) else m.ifm.cause
        return causes.KV if source == KV_TILE else causes.WEIGHTS
    return m.ifm.cause if cause == causes.ROWS else cause
