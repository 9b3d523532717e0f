"""IFM: activation row tiles on their way from the global buffer, through the NPE where asked, to the PE array.

A circular buffer: halves of whole tiles would leave the array waiting for the latency of the global buffer
whenever a tile has few rows, and in decode it has one.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.machine import MAX_ROWS, Machine, Record
from skipopu.sim.work import EVERY_TILE, FIRST_BLOCK
from skipopu.spec.overlay import BLOCK_RAM_READ, BLOCK_RAM_WRITE


@jit
def ifm(m: Machine) -> None:
    """One cycle: ask for one row if global buffer, lanes and stream can give it.

    All rows of an operation take the same way, past idle NPE stages if need be, and so arrive in order.
    """
    pe, w, p = m.pe, m.work, m.p
    i = pe.instruction
    m.ifm.cause = causes.ROWS
    if i < 0 or not has_room(m.ifm, pe, p.ifm_rows):
        return
    first_block = m.ifm.requested < w[i].depth * w[i].tile_rows
    operand = w[i].operand == EVERY_TILE or (w[i].operand == FIRST_BLOCK and first_block)
    if w[i].stream and pe.stream_tiles == 0:
        m.ifm.cause = causes.DDR
        return
    if pe.reads + w[i].feed_tiles > p.read_ports or (operand and pe.lane_taken):
        return
    if w[i].stream:
        pe.stream_tiles -= 1
    pe.reads += w[i].feed_tiles
    if operand:
        pe.lane_taken = 1
    request_row(m.ifm, m.total.now, p.read_stages + w[i].operand_stages)


@jit
def has_room(ifm: Record, pe: Record, capacity: int) -> bool:
    """Another row may be asked for; IFM steps before the PE array, which frees a row for the next cycle."""
    left = pe.tiles * pe.rows - ifm.requested
    return left > 0 and ifm.requested - ifm.issued < capacity  # type: ignore[no-any-return]


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
