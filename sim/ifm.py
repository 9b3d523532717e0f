"""IFM: activation row tiles on their way from the global buffer, through the NPE where asked, to the PE array.

A circular buffer: halves of whole tiles would leave the array waiting for the latency of the global buffer
whenever a tile has few rows, and in decode it has one.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.global_buffer import can_read, can_write, read, reserve_write
from skipopu.sim.kv_announcements import END, NOTHING, round_announced, take_announcement
from skipopu.sim.machine import MAX_ROWS, Machine, Record
from skipopu.sim.scoreboard import row_free
from skipopu.sim.tile_source import EVERY_TILE, FIRST_BLOCK
from skipopu.spec.ledger import NpeWork
from skipopu.spec.overlay import BLOCK_RAM_READ, BLOCK_RAM_WRITE


@jit
def ifm(m: Machine) -> None:
    """One cycle: ask for a row, and learn of a K/V round."""
    m.ifm.cause = causes.ROWS
    if m.pe.instruction >= 0:
        learns = wants_announcement(m.ifm, m.pe)
        _ask(m, m.pe.instruction)
        found = round_announced(m.kv) if learns else NOTHING
        if found != NOTHING:
            take_announcement(m.kv)
            note_announcement(m.ifm, found == END)


@jit
def _ask(m: Machine, i: int) -> None:
    """Ask for one row if global buffer, statistics and stream can give it.

    All rows of an operation take the same way, past idle NPE stages if need be, and so arrive in order.
    """
    pe, w, p = m.pe, m.work, m.p
    if not has_room(m.ifm, pe, p.ifm_rows):
        return
    if w[i].stream and pe.stream_tiles == 0:
        m.ifm.cause = causes.DDR
        return
    passes = passes_lanes(m.ifm, w[i].operand, w[i].depth * w[i].tile_rows)
    if not passes and w[i].operand == FIRST_BLOCK and not written_back(m.ifm, m.total.now):
        m.ifm.cause = causes.DRAINING
        return
    if not statistics_free(m.ifm, w[i].operand_distance, w[i].statistics_rows, m.total.now):
        m.ifm.cause = causes.DRAINING
        return
    if not can_read(m, w[i].feed_tiles):
        return
    latency = p.read_stages + w[i].operand_stages
    if passes and w[i].write_back and not can_write(m, latency):
        m.ifm.cause = causes.BACKPRESSURE
        return
    if w[i].stream:
        pe.stream_tiles -= 1
    read(m, w[i].feed_tiles)
    if passes and w[i].write_back:
        reserve_write(m, latency)
    if passes:
        pe.lane_taken = 1
        m.counts.npe[NpeWork.OPERANDS] += 1
    note_request(m.ifm, passes, w[i].operand_distance, w[i].statistics_rows, m.total.now, latency)
    begin_round(m.ifm, pe)
    request_row(m.ifm, m.total.now, latency)


@jit
def passes_lanes(ifm: Record, operand: int, block_tiles: int) -> bool:
    """The next tile goes through the operand lanes; ``block_tiles`` of a column block."""
    return operand == EVERY_TILE or (operand == FIRST_BLOCK and ifm.requested < block_tiles)


@jit
def written_back(ifm: Record, now: int) -> bool:
    """All tiles that were normalised on their way can be read again."""
    return ifm.written <= now  # type: ignore[no-any-return]


@jit
def statistics_free(ifm: Record, distance: int, rows: int, now: int) -> bool:
    """The next tile's row has no tile on its way to its sums, if those are taken; ``rows`` take turns."""
    return distance == 0 or row_free(ifm.taken, ifm.requested % rows, now, distance)


@jit
def note_request(ifm: Record, passes: bool, distance: int, rows: int, now: int, latency: int) -> None:
    """The next tile is asked for: when its row may follow, and when it can be read if it is written back."""
    if distance:
        ifm.taken[ifm.requested % rows] = now
    if passes:
        ifm.written = now + latency + 1


@jit
def has_room(ifm: Record, pe: Record, capacity: int) -> bool:
    """Another row may be asked for; IFM steps before the PE array, which frees a row for the next cycle."""
    if pe.dynamic:
        left = not round_begins(ifm, pe) or ifm.announced == 1
    else:
        left = ifm.requested < pe.tiles * pe.rows
    return left and ifm.requested - ifm.issued < capacity  # type: ignore[no-any-return]


@jit
def round_begins(ifm: Record, pe: Record) -> bool:
    """The next row is the first of a K/V round, if rounds are dynamic."""
    return ifm.requested % (pe.tiles * pe.rows) == 0  # type: ignore[no-any-return]


@jit
def begin_round(ifm: Record, pe: Record) -> None:
    """The next row is asked for: the first of a round uses up its announcement."""
    if pe.dynamic and round_begins(ifm, pe):
        ifm.announced = 0


@jit
def wants_announcement(ifm: Record, pe: Record) -> bool:
    """As the cycle begins, IFM does not know whether a round follows."""
    return pe.dynamic and not ifm.announced and not ifm.ended


@jit
def note_announcement(ifm: Record, end: bool) -> None:
    """From the next cycle on another round may be asked for, or there is none."""
    if end:
        ifm.ended = 1
    else:
        ifm.announced = 1


@jit
def request_row(ifm: Record, now: int, latency: int) -> None:
    """Ask for the next row; it arrives ``latency`` cycles later, is written and read back."""
    place = ifm.requested % MAX_ROWS
    ifm.readable[place] = now + latency + BLOCK_RAM_WRITE + BLOCK_RAM_READ
    ifm.requested += 1


@jit
def row_ready(ifm: Record, now: int) -> bool:
    """The next row stands at the output."""
    return ifm.requested > ifm.issued and ifm.readable[ifm.issued % MAX_ROWS] <= now  # type: ignore[no-any-return]
