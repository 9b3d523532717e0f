"""The K/V schedule of one layer, step by step: which token comes from where, in which round, and which are kept.

Functional part of block ``kv_buffer`` (SkipOPU §4.4). There is no time here: `skipopu.sim.kv_buffer` and
`skipopu.hdl.kv_scheduler` take one step a cycle and may have to wait before it; the outcome does not depend on that.

A step passes over a token that is not visible, places one, or forms a round. In order (buffer valid, ``lock_step``,
or interleaved map): a round takes tokens until one does not fit. Queued (buffer invalid): tokens wait in a queue a
port, and when one is full the round takes the heads.

The invariance buffer is a ring of vectors striped over its banks. Tokens are kept in token order and therefore read
in ring order; every token that the next layer reuses is written again behind the last, wherever it came from (the
48 sources of the update crossbar). So a round's reads, and its writes, lie in different banks by construction.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import jit

BUFFER = -1  # port of an entry that the invariance buffer delivers
NONE = -1
PASS, PLACE, FORM, DONE = range(4)  # what the next step is


class Limits(NamedTuple):
    """What bounds a round; all counts."""

    ports: int  # HBM ports
    tokens: int  # most tokens of a round
    buffer_ports: int  # banks of the buffer: reads, and writes, of a round
    capacity: int  # tokens the buffer holds
    queue_depth: int  # tokens that wait at a port while the buffer is invalid
    lock_step: bool  # rounds in order, too, while the buffer is invalid
    spread: bool  # interleaved map: every token lies in all ports, rounds in order, no two tokens collide


class Placement(NamedTuple):
    """Where the tokens of every layer's cache live, shape [layers, tokens]; a token is its place in the cache."""

    source: NDArray[np.int16]  # layer whose K/V the token uses; −1: none, the token is not visible
    port: NDArray[np.int16]  # HBM port of that layer's entry
    slot: NDArray[np.int32]  # its place in the port
    views: NDArray[np.bool_]  # [views, tokens]: which places of the cache a read may see


class Schedule(NamedTuple):
    """State of the scheduler and what it has formed so far; entries are in round order."""

    s: Any  # record of STATE
    token: NDArray[np.int32]
    port: NDArray[np.int16]  # HBM port or BUFFER
    read: NDArray[np.int32]  # ring number the entry is read from, NONE
    kept: NDArray[np.int32]  # ring number it is kept under, NONE
    first: NDArray[np.int32]  # first[r] … first[r + 1]: entries of round r
    held: NDArray[np.int8]  # [phase, token]: in the buffer
    used: NDArray[np.int32]  # [port]: 1 + the round in which it was last used
    queue: NDArray[np.int32]  # [port, place]: tokens waiting
    number: NDArray[np.int32]  # [port, place]: ring number each will be kept under, NONE
    head: NDArray[np.int32]  # [port]
    tail: NDArray[np.int32]
    bank: NDArray[np.int32]  # [bank]: 1 + the round that last wrote it


STATE = np.dtype([
    (name, "i8") for name in (
        "layer", "tokens", "usable", "in_order", "track", "shown",
        "scan",  # next token
        "entries", "rounds", "reads", "writes", "waiting", "turn",
        "ring_head", "ring_tail",  # ring numbers of the next token read and of the next one kept
        "saved_head", "saved_tail", "phase",  # as the layer begins: V runs the schedule of K once more
        "from_buffer", "keep", "where",  # the token about to be placed
    )
])  # fmt: skip


def new_schedule(tokens: int, limits: Limits) -> Schedule:
    """A scheduler with an empty buffer for sequences of up to ``tokens`` tokens; kernels allocate nothing."""
    ports = limits.ports
    i4 = np.int32
    return Schedule(
        np.zeros(1, np.dtype((np.record, STATE)))[0], np.zeros(tokens, i4), np.zeros(tokens, np.int16),
        np.zeros(tokens, i4), np.zeros(tokens, i4), np.zeros(tokens + 2, i4), np.zeros((2, tokens), np.int8),
        np.zeros(ports, i4), np.zeros((ports, limits.queue_depth), i4), np.zeros((ports, limits.queue_depth), i4),
        np.zeros(ports, i4), np.zeros(ports, i4), np.zeros(max(limits.buffer_ports, 1), i4),
    )  # fmt: skip


@jit
def begin(limits: Limits, c: Schedule, layer: int, tokens: int, usable: bool, track: bool, view: int = 0) -> None:
    """Start on the K/V of tokens [0, tokens) at ``layer``, as far as ``view`` shows them.

    ``usable``: the buffer is valid; else it is taken as empty. ``track`` (decode): keep what the next layer reuses.
    """
    s = c.s
    s.layer, s.tokens, s.usable, s.track, s.shown = layer, tokens, usable, track, view
    s.in_order = usable or limits.lock_step or limits.spread
    s.scan = s.entries = s.rounds = s.reads = s.writes = s.waiting = s.turn = 0
    s.ring_head, s.ring_tail = (s.saved_head, s.saved_tail) if usable else (0, 0)
    c.first[0] = 0
    c.used[:] = 0
    c.bank[:] = 0
    c.head[:] = 0
    c.tail[:] = 0


@jit
def commit(c: Schedule) -> None:
    """The layer's V has been read: what it kept is what the next layer finds."""
    s = c.s
    s.saved_head, s.saved_tail = s.ring_head, s.ring_tail
    s.phase = 1 - s.phase


@jit
def next_step(limits: Limits, place: Placement, c: Schedule) -> int:
    """Return the next step: PASS, PLACE (``s.where`` is the token's port or BUFFER), FORM or DONE."""
    s = c.s
    if s.scan == s.tokens:
        left = s.entries > c.first[s.rounds] if s.in_order else s.waiting > 0
        return FORM if left else DONE
    if place.source[s.layer, s.scan] < 0 or not place.views[s.shown, s.scan]:
        return PASS
    _look_at(limits, place, c)
    if s.in_order:
        return PLACE if _fits(limits, c) else FORM
    return FORM if c.tail[s.where] - c.head[s.where] == limits.queue_depth else PLACE


@jit
def _look_at(limits: Limits, place: Placement, c: Schedule) -> None:
    """Find out where the next token comes from and whether it is kept."""
    s = c.s
    s.from_buffer = s.usable and c.held[s.phase, s.scan]
    s.where = BUFFER if s.from_buffer else place.port[s.layer, s.scan]
    occupied = s.ring_tail - s.ring_head - s.from_buffer
    s.keep = s.track and occupied < limits.capacity and _wanted_next(place, s.layer, s.scan, s.tokens - 1)


@jit
def _wanted_next(place: Placement, layer: int, token: int, newest: int) -> bool:
    """The next layer reuses this token's K/V; the newest token's own next decision is not known yet."""
    if layer + 1 >= place.source.shape[0] or token == newest:
        return False
    source: int = place.source[layer + 1, token]
    return 0 <= source <= layer


@jit
def _fits(limits: Limits, c: Schedule) -> bool:
    s = c.s
    if s.entries - c.first[s.rounds] == limits.tokens or (s.keep and s.writes == limits.buffer_ports):
        return False
    if s.from_buffer:
        return s.reads < limits.buffer_ports  # type: ignore[no-any-return]
    return limits.spread or c.used[s.where] != s.rounds + 1


@jit
def pass_token(c: Schedule) -> None:
    """Step over a token that is not visible."""
    c.held[1 - c.s.phase, c.s.scan] = 0
    c.s.scan += 1


@jit
def place_token(limits: Limits, c: Schedule) -> None:
    """Put the next token into the open round, or into its port's queue."""
    s = c.s
    read = kept = NONE
    if s.from_buffer:
        read = s.ring_head
        s.ring_head += 1
        s.reads += 1
    if s.keep:
        kept = s.ring_tail
        s.ring_tail += 1
        s.writes += 1
    if s.in_order:
        if not s.from_buffer:
            c.used[s.where] = s.rounds + 1
        _enter(c, s.scan, s.where, read, kept)
    else:
        at = c.tail[s.where] % limits.queue_depth
        c.queue[s.where, at], c.number[s.where, at] = s.scan, kept
        c.tail[s.where] += 1
        s.waiting += 1
    c.held[1 - s.phase, s.scan] = s.keep
    s.scan += 1


@jit
def _enter(c: Schedule, token: int, port: int, read: int, kept: int) -> None:
    e = c.s.entries
    c.token[e], c.port[e], c.read[e], c.kept[e] = token, port, read, kept
    c.s.entries += 1


@jit
def form_round(limits: Limits, c: Schedule) -> None:
    """Close the open round; queued, first take the heads. A round without entries is none."""
    s = c.s
    if not s.in_order:
        _take_heads(limits, c)
    if s.entries > c.first[s.rounds]:
        s.rounds += 1
        c.first[s.rounds] = s.entries
    s.reads = s.writes = 0


@jit
def _take_heads(limits: Limits, c: Schedule) -> None:
    """A window of ports gives its heads; of those kept in one bank only the first goes.

    The window begins a port later each time: a head waits for at most as many rounds as there are ports.
    """
    s = c.s
    for step in range(min(limits.ports, limits.tokens)):
        port = (s.turn + step) % limits.ports
        if c.head[port] == c.tail[port]:
            continue
        at = c.head[port] % limits.queue_depth
        kept = c.number[port, at]
        if kept != NONE:
            bank = kept % limits.buffer_ports
            if c.bank[bank] == s.rounds + 1:
                continue
            c.bank[bank] = s.rounds + 1
        c.head[port] += 1
        s.waiting -= 1
        _enter(c, c.queue[port, at], port, NONE, kept)
    s.turn = (s.turn + 1) % limits.ports
