"""The K/V round scheduler and the invariance buffer's contents: which token comes from where, in which round.

Functional part of block ``kv_buffer`` (SkipOPU §4.4): no timing here; `skipopu.sim.kv_buffer` says when.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import jit
from skipopu.spec.overlay import Overlay

BUFFER = -1  # source of an entry that the invariance buffer delivers


class Limits(NamedTuple):
    """What bounds a round; all counts."""

    ports: int  # HBM ports
    tokens: int  # most tokens of a round
    buffer_reads: int
    buffer_writes: int
    capacity: int  # tokens the buffer holds
    queue_depth: int  # per-port queue while the buffer is invalid


class Placement(NamedTuple):
    """Where the trace's tokens live, shape [layers, tokens]."""

    source: NDArray[np.int16]  # layer whose K/V the token uses; −1: none, the token is not visible
    port: NDArray[np.int16]  # HBM port of that layer's entry
    slot: NDArray[np.int32]  # its place in the port


class Rounds(NamedTuple):
    """Scratch for one schedule, entries in round order."""

    token: NDArray[np.int32]
    port: NDArray[np.int16]  # HBM port or BUFFER
    first: NDArray[np.int32]  # first[r] … first[r + 1]: entries of round r
    used: NDArray[np.int32]  # [port]: 1 + the round in which it was last used
    queue: NDArray[np.int32]  # [port, place]: tokens waiting while the buffer is invalid
    head: NDArray[np.int32]
    tail: NDArray[np.int32]


def place(sources: NDArray[np.int16], ports: int) -> Placement:
    """Token-wise map: the executed tokens of a layer go round-robin over the ports.

    ``sources`` [layers, tokens] as `Trace.kv_source_layers` returns it.
    """
    layers, tokens = sources.shape
    own = sources == np.arange(layers)[:, None]
    order = np.cumsum(own, axis=1) - 1
    token = np.arange(tokens)
    safe = np.maximum(sources, 0)
    order = order[safe, token]
    return Placement(
        sources.astype(np.int16), (order % ports).astype(np.int16), (order // ports).astype(np.int32)
    )


def new_rounds(tokens: int, limits: Limits) -> Rounds:
    """Scratch for schedules of up to ``tokens`` tokens; kernels allocate nothing."""
    ports = limits.ports
    return Rounds(
        np.zeros(tokens, np.int32), np.zeros(tokens, np.int16), np.zeros(tokens + 2, np.int32),
        np.zeros(ports, np.int32), np.zeros((ports, limits.queue_depth), np.int32),
        np.zeros(ports, np.int32), np.zeros(ports, np.int32),
    )  # fmt: skip


@jit
def schedule(
    limits: Limits,
    place: Placement,
    layer: int,
    tokens: int,
    valid: bool,
    track: bool,
    held: Any,
    rounds: Rounds,
) -> int:
    """Form the rounds in which the K/V of tokens [0, tokens) at ``layer`` are read; return their number.

    ``held`` [tokens] marks the tokens in the buffer; ``track`` (decode) updates it for the next layer,
    prefill reads past it. Greedy rounds in order while the buffer is ``valid``, per-port queues otherwise.
    """
    if not valid:
        held[:tokens] = 0
    room = limits.capacity - _count(held, tokens)
    if valid:
        return _in_order(limits, place, layer, tokens, held, room, track, rounds)
    return _queued(limits, place, layer, tokens, held, room, track, rounds)


@jit
def _count(held: Any, tokens: int) -> int:
    total = 0
    for t in range(tokens):
        total += held[t]
    return total


@jit
def _wanted_next(place: Placement, layer: int, token: int, newest: int) -> bool:
    """The next layer reuses this token's K/V; the newest token's own next decision is not known yet."""
    if layer + 1 >= place.source.shape[0] or token == newest:
        return False
    source: int = place.source[layer + 1, token]
    return 0 <= source <= layer


@jit
def _in_order(
    limits: Limits,
    place: Placement,
    layer: int,
    tokens: int,
    held: Any,
    room: int,
    track: bool,
    rounds: Rounds,
) -> int:
    used = rounds.used
    used[:] = 0
    count, reads, writes, entries = 0, 0, 0, 0
    rounds.first[0] = 0
    for token in range(tokens):
        if place.source[layer, token] < 0:
            continue
        from_buffer = held[token] == 1
        wanted = track and _wanted_next(place, layer, token, tokens - 1)
        keep = wanted and not from_buffer and room > 0
        port = BUFFER if from_buffer else place.port[layer, token]
        size = entries - rounds.first[count]
        full = size == limits.tokens or (keep and writes == limits.buffer_writes)
        full = full or (reads == limits.buffer_reads if from_buffer else used[port] == count + 1)
        if full:
            count += 1
            rounds.first[count] = entries
            reads, writes = 0, 0
        if from_buffer:
            reads += 1
        else:
            used[port] = count + 1
        if keep:
            writes += 1
            held[token], room = 1, room - 1
        elif from_buffer and track and not wanted:
            held[token], room = 0, room + 1
        rounds.token[entries], rounds.port[entries] = token, port
        entries += 1
    return _close(rounds, count, entries)


@jit
def _queued(
    limits: Limits,
    place: Placement,
    layer: int,
    tokens: int,
    held: Any,
    room: int,
    track: bool,
    rounds: Rounds,
) -> int:
    queue, head, tail = rounds.queue, rounds.head, rounds.tail
    head[:] = 0
    tail[:] = 0
    scan, count, entries, turn = 0, 0, 0, 0
    rounds.first[0] = 0
    while True:
        while scan < tokens:
            if place.source[layer, scan] >= 0:
                port = place.port[layer, scan]
                if tail[port] - head[port] == limits.queue_depth:
                    break
                queue[port, tail[port] % limits.queue_depth] = scan
                tail[port] += 1
            scan += 1
        writes, start = 0, entries
        for step in range(limits.ports):
            port = (turn + step) % limits.ports
            if head[port] == tail[port] or entries - start == limits.tokens:
                continue
            token = queue[port, head[port] % limits.queue_depth]
            keep = track and room > 0 and _wanted_next(place, layer, token, tokens - 1)
            if keep and writes == limits.buffer_writes:
                continue
            if keep:
                writes += 1
                held[token], room = 1, room - 1
            head[port] += 1
            rounds.token[entries], rounds.port[entries] = token, port
            entries += 1
        if entries == start:
            return count
        # a port passed over for want of a write port goes first next time
        turn = (turn + 1) % limits.ports
        count += 1
        rounds.first[count] = entries


@jit
def _close(rounds: Rounds, count: int, entries: int) -> int:
    """End the last round; no entries make no round."""
    if entries == rounds.first[count]:
        return count
    rounds.first[count + 1] = entries
    return count + 1


class Passes(NamedTuple):
    """The row blocks of a trace in execution order, [passes] each; a layer's K/V schedule serves a pass."""

    step: NDArray[np.int64]  # the trace's step
    first: NDArray[np.int64]  # first token of the block
    rows: NDArray[np.int64]  # tokens of the block
    decode: NDArray[np.bool_]  # a decode pass uses the invariance buffer


class Demand(NamedTuple):
    """What the schedules of a trace amount to, [passes, layers] each; an entry is one token's K (or V)."""

    rounds: NDArray[np.int64]
    hbm_entries: NDArray[np.int64]
    buffer_entries: NDArray[np.int64]


def limits_of(overlay: Overlay, kv_token_bytes: int) -> Limits:
    """Bounds of a round on ``overlay``; ``kv_token_bytes`` is K plus V of one token in one layer."""
    b = overlay.kv_buffer
    usable = b.enabled and b.read_ports > 0 and b.write_ports > 0
    capacity = overlay.buffer_tokens(kv_token_bytes) if usable else 0
    return Limits(
        overlay.dma.hbm_ports, overlay.tokens_per_round, b.read_ports, b.write_ports, capacity, b.queue_depth
    )


def demand(limits: Limits, place: Placement, passes: Passes, queries: NDArray[np.bool_]) -> Demand:
    """Schedule every pass and layer that has an executed query (``queries`` [layers, tokens]) once."""
    layers, tokens = queries.shape
    counts = np.concatenate([np.zeros((layers, 1), np.int64), np.cumsum(queries, axis=1)], axis=1)
    executed = (counts[:, passes.first + passes.rows] - counts[:, passes.first]).T > 0
    out = Demand(*(np.zeros((len(passes.step), layers), np.int64) for _ in Demand._fields))
    _demand(limits, place, passes, executed, new_rounds(tokens, limits), np.zeros(tokens, np.int8), out)
    return out


@jit
def _demand(
    limits: Limits, place: Placement, passes: Passes, executed: Any, rounds: Rounds, held: Any, out: Demand
) -> None:
    for p in range(len(passes.step)):
        valid = False
        for layer in range(place.source.shape[0]):
            if not executed[p, layer]:
                valid = False
                continue
            decode = passes.decode[p]
            seen = passes.first[p] + passes.rows[p]
            count = schedule(limits, place, layer, seen, valid and decode, decode, held, rounds)
            out.rounds[p, layer] = count
            for entry in range(rounds.first[count]):
                if rounds.port[entry] == BUFFER:
                    out.buffer_entries[p, layer] += 1
                else:
                    out.hbm_entries[p, layer] += 1
            valid = limits.capacity > 0
