"""NPE: takes interleaved sums out of PSUM, sends words of results, retires a matrix operation after its last one.

The upper half of this file is the block alone, as `skipopu.hdl.npe.slot_sum` and `skipopu.hdl.npe.result_path` build
it; the lower half binds it to the PE array's operations. Operands on their way into IFM have lanes of their own: see
`skipopu.sim.ifm`.
"""

from skipopu.numerics.jit import jit
from skipopu.program.isa import Opcode, Post
from skipopu.sim import causes
from skipopu.sim.engine import retire
from skipopu.sim.global_buffer import can_read, can_write, read, reserve_write
from skipopu.sim.machine import FAR, Machine, Record
from skipopu.sim.psum import psum_ready, take_entry
from skipopu.sim.scoreboard import row_free
from skipopu.spec.ledger import NpeWork
from skipopu.spec.overlay import IN_FLIGHT

ENGINE = 5
# an enumeration is none of Numba's types
RESIDUAL, PRODUCT, LISTS, ROUTE = int(Post.RESIDUAL), int(Post.PRODUCT), int(Post.LISTS), int(Opcode.ROUTE)


@jit
def takes(n: Record, slots: int) -> bool:
    """The next of a row's ``slots`` entries can be taken: into the hold register, or as the second of a pair.

    A pair leaves before it is stepped in a cycle, so that one follows another without a gap.
    """
    return (n.slot & 1 == 0 and n.slot + 1 < slots) or n.full == 0  # type: ignore[no-any-return]


@jit
def take(n: Record, slots: int, words: int) -> bool:
    """Take an entry; an odd one, or the last of its row, completes a pair that leaves in ``words`` words: True."""
    last = n.slot + 1 == slots
    completes = n.slot & 1 == 1 or last
    if completes:
        n.full, n.word, n.words, n.final = 1, 0, words, last
    n.slot = 0 if last else n.slot + 1
    return completes  # type: ignore[no-any-return]


@jit
def emit(n: Record) -> bool:
    """A word of the pair goes to the adders; True when it is the last one of its row."""
    n.word += 1
    if n.word < n.words:
        return False
    n.full = 0
    return n.final == 1  # type: ignore[no-any-return]


@jit
def statistics_row(n: Record, rows: int, head_words: int) -> int:
    """Row of the statistics that a word of raw scores belongs to; of packed heads the second follows the first."""
    return n.first + n.word // head_words * rows + n.row  # type: ignore[no-any-return]


@jit
def next_row(n: Record, rows: int, heads: int, round_blocks: int) -> None:
    """The last word of a row is sent: on to the next row, column block, K/V round."""
    n.row += 1
    if n.row < rows:
        return
    n.row = 0
    n.block += 1
    n.first += heads * rows
    if n.block == round_blocks:
        n.block = n.first = 0


@jit
def npe(m: Machine) -> None:
    """One cycle: a word of the pair leaves, an entry is taken, and the retirement that falls due."""
    n = m.npe
    _retire_due(m)
    m.pe.lane_taken = 0
    n.cause = _send(m) if n.full else causes.IDLE
    if _receive(m):
        n.cause = causes.BUSY
    elif n.cause == causes.IDLE and (m.psum.head < m.psum.tail or _drains(m)):
        n.cause = causes.DRAINING


@jit
def _drains(m: Machine) -> bool:
    """Nothing is multiplied and results are still on their way."""
    return m.npe.flight_head < m.npe.flight_tail and m.pe.instruction < 0  # type: ignore[no-any-return]


@jit
def with_row(post: int) -> bool:
    """Results meet a row of the global buffer: a residual is added, a gate multiplied."""
    return post in (RESIDUAL, PRODUCT)


@jit
def leaves(opcode: int, post: int) -> bool:
    """Results go to the global buffer; logits of a router go to the row masks or lists."""
    return opcode != ROUTE and post != LISTS


@jit
def _send(m: Machine) -> int:
    """Send a word if it needs no grant or has it; return what the cycle went to."""
    n, w, now = m.npe, m.work, m.total.now
    i = n.operation
    cause = _obstacle(m) if n.final else causes.BUSY
    if cause != causes.BUSY:
        return cause
    m.total.progress = now
    if n.final and w[i].distance:
        n.taken[statistics_row(n, w[i].tile_rows, w[i].head_words)] = now
    if n.final and with_row(w[i].post):
        read(m, 1)
    if n.final and leaves(w[i].opcode, w[i].post):
        reserve_write(m, m.p.result_latency)
    m.counts.npe[NpeWork.WORDS] += 1
    if emit(n):
        next_row(n, w[i].results // w[i].slots, w[i].words // w[i].head_words, w[i].round_blocks)
        if n.last:
            n.row = n.block = n.first = 0
            _set_finish(m)
    return cause


@jit
def _obstacle(m: Machine) -> int:
    """What keeps the last pair's word: a residual or a gate needs a read port, statistics the row's tile before."""
    n, w = m.npe, m.work
    i = n.operation
    if with_row(w[i].post) and not can_read(m, 1):
        return causes.ROWS
    if w[i].distance:
        row = statistics_row(n, w[i].tile_rows, w[i].head_words)
        if not row_free(n.taken, row, m.total.now, w[i].distance):
            return causes.DRAINING
    if leaves(w[i].opcode, w[i].post) and not can_write(m, m.p.result_latency):
        return causes.BACKPRESSURE
    return causes.BUSY


@jit
def _receive(m: Machine) -> bool:
    """Take an entry of the oldest finished column block."""
    n, psum, now = m.npe, m.psum, m.total.now
    if not psum_ready(psum, now):
        return False
    half = psum.head & 1
    i = psum.operation[half]
    if not takes(n, m.work[i].slots):
        return False
    m.counts.npe[NpeWork.ENTRIES] += 1
    last = take_entry(psum, now) and psum.last[half] == 1
    if take(n, m.work[i].slots, m.work[i].words):
        n.operation, n.last = i, last
    return True


@jit
def _set_finish(m: Machine) -> None:
    """The oldest operation without a last cycle has sent its last word into the pipeline."""
    n = m.npe
    for entry in range(n.flight_head, n.flight_tail):
        slot = entry % IN_FLIGHT
        if n.finish[slot] == FAR:
            n.finish[slot] = m.total.now + m.work.result_stages[n.flight[slot]]
            return


@jit
def _retire_due(m: Machine) -> None:
    n = m.npe
    if n.flight_head < n.flight_tail:
        slot = n.flight_head % IN_FLIGHT
        if n.finish[slot] <= m.total.now:
            retire(m, ENGINE, n.flight[slot])
            n.flight_head += 1
