"""A cycle of the PE array between streams that stall, in the order of `reference.step`."""

from typing import Any

from skipopu.hdl.cosim.pe_array_events import (
    ANNOUNCE,
    CHUNKS,
    END,
    ISSUE,
    NO_PSUM,
    NO_ROW,
    NO_WEIGHTS,
    OPERATION,
    REQUEST,
    RESULTS,
    STREAMS,
    WEIGHTS,
    WORDS,
)
from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.ifm import begin_round, has_room, note_announcement, request_row, wants_announcement
from skipopu.sim.ker import advance, half_empty, use_chunk
from skipopu.sim.pe_array import begin_operation, issue, multiplies, obstacle
from skipopu.sim.psum import close_block, psum_ready, take_entry
from skipopu.sim.tile_source import KV_TILE, NO_TILE, WEIGHT_TILE

OPERATIONS, WEIGHT_WORDS, KV_CHUNKS, CONSTANT_WORDS, ANNOUNCEMENTS, REQUESTS, ENTRIES = range(len(STREAMS))


@jit
def run(m: Any, given: Any, trace: Any, start: int) -> int:
    """Step from cycle ``start`` to the end of ``trace`` or of the work."""
    s = m.state
    for now in range(start, len(trace)):
        stalls = given.stalls[:, now % given.stalls.shape[1]]
        _offer(s, given, stalls)
        trace[now] = _results(m, now, stalls[ENTRIES])
        trace[now] |= _rows(m, given, now, stalls[REQUESTS])
        trace[now] |= _array(m, given.work, now)
        trace[now] |= _tiles(m, given, now)
        if s.operation == len(given.work) and not s.active and s.left == 0:
            return now + 1
    return len(trace)


@jit
def _offer(s: Any, given: Any, stalls: Any) -> None:
    """What stands at a port stays; the next thing comes when its pattern says so, a chunk not before its round."""
    s.offers_operation |= stalls[OPERATIONS]
    s.offers_weights |= stalls[WEIGHT_WORDS]
    s.offers_word |= stalls[CONSTANT_WORDS]
    if s.pushed < len(given.announced_end):
        s.pushed += stalls[ANNOUNCEMENTS]
    if s.chunk < len(given.needs) and s.pushed >= given.needs[s.chunk]:
        s.offers_chunk |= stalls[KV_CHUNKS]


@jit
def _results(m: Any, now: int, ready: int) -> int:
    if not ready or not psum_ready(m.psum, now):
        return 0
    take_entry(m.psum, now)
    m.state.left -= 1
    return RESULTS


@jit
def _rows(m: Any, given: Any, now: int, ready: int) -> int:
    s, moved = m.state, 0
    if not s.active:
        return 0
    learns = wants_announcement(m.ifm, m.pe)
    if ready and has_room(m.ifm, m.pe, m.p.ifm_rows):
        begin_round(m.ifm, m.pe)
        request_row(m.ifm, now, m.p.row_latency)
        moved |= REQUEST
    if learns and s.told < s.pushed:
        note_announcement(m.ifm, given.announced_end[s.told])
        s.told += 1
        moved |= ANNOUNCE
    return moved


@jit
def _array(m: Any, work: Any, now: int) -> int:
    s, pe = m.state, m.pe
    if not s.active:
        if not s.offers_operation or s.operation == len(work):
            return 0
        o = work[s.operation]
        begin_operation(pe, m.ker, m.ifm, now, o.source, o.blocks, o.depth, o.rows, o.dynamic == 1)
        s.active, s.offers_operation = 1, 0
        s.operation += 1
        return OPERATION
    missing = obstacle(pe, m.ker, m.ifm, m.psum, now)
    if missing != causes.BUSY:
        return NO_WEIGHTS if missing == causes.WEIGHTS else NO_ROW if missing == causes.ROWS else NO_PSUM
    if issue(pe, m.ker, m.ifm, now, m.p.broadcast) and multiplies(pe):
        close_block(m.psum, now, m.p.pe_latency, work[s.operation - 1].results, 0)
    if pe.ended:
        s.active = 0
        return ISSUE | END
    return ISSUE


@jit
def _tiles(m: Any, given: Any, now: int) -> int:
    """KER takes what it has room for."""
    s, ker, pe = m.state, m.ker, m.pe
    if not s.active or pe.source == NO_TILE or not half_empty(ker, pe, now):
        return 0
    o = given.work[s.operation - 1]
    if pe.source == WEIGHT_TILE:
        taken = ker.gear < o.tile_bytes and s.offers_weights == 1
        advance(ker, pe, o.tile_bytes, o.pop_bytes if taken else 0)
        s.offers_weights -= taken
        return WEIGHTS if taken else 0
    if pe.source == KV_TILE:
        if not s.offers_chunk or not use_chunk(ker, pe, o.tile_bytes, o.pop_bytes, given.ends[s.chunk]):
            return 0
        s.offers_chunk = 0
        s.chunk += 1
        return CHUNKS
    if not s.offers_word or not (use_chunk(ker, pe, o.tile_bytes, o.pop_bytes, False) or ker.over):
        return 0
    s.offers_word = 0  # what the last tile leaves of a word goes with it
    return WORDS
