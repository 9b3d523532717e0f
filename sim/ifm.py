"""IFM: activation rows of one K-tile. One half fills from the global buffer, through the NPE where asked."""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.machine import Machine
from skipopu.sim.work import EVERY_TILE, FIRST_BLOCK


@jit
def ifm(m: Machine) -> None:
    """One cycle: feed one row of the tile that is filling; a half is ready once its last row came through."""
    pe, w, p = m.pe, m.work, m.p
    i = pe.instruction
    pe.fill_cause = causes.ROWS
    if i < 0 or pe.filled == pe.tiles or pe.filled - pe.tile == 2:
        return
    operand = w[i].operand == EVERY_TILE or (w[i].operand == FIRST_BLOCK and pe.filled < w[i].depth)
    if w[i].stream and pe.stream_tiles == 0:
        pe.fill_cause = causes.DDR
        return
    if pe.reads + w[i].feed_tiles > p.read_ports or (operand and pe.lane_taken):
        return
    if w[i].stream:
        pe.stream_tiles -= 1
    pe.reads += w[i].feed_tiles
    if operand:
        pe.lane_taken = 1
    pe.fill_row += 1
    if pe.fill_row == w[i].tile_rows:
        stages = w[i].operand_stages if operand else 0
        pe.ready[pe.filled & 1] = m.total.now + p.read_stages + stages
        pe.filled += 1
        pe.fill_row = 0
