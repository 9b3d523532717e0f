"""The K/V round scheduler again, as plain rules over lists and sets."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import BUFFER, Limits, Placement, new_rounds, place, schedule

Entry = tuple[int, int]  # token, HBM port or BUFFER
Round = list[Entry]


@dataclass
class Layer:
    """What one layer's schedule is asked for, what came out, and what the buffer held before and after."""

    layer: int
    valid: bool
    rounds: list[Round]
    before: set[int]
    after: set[int]


def run(limits: Limits, where: Placement, tokens: int, layers: Iterable[int]) -> list[Layer]:
    """Decode of the newest of ``tokens``, whose attention runs in ``layers``, through the real scheduler."""
    held, scratch = np.zeros(tokens, np.int8), new_rounds(tokens, limits)
    found, last = [], -2
    for layer in layers:
        valid = layer == last + 1 and limits.capacity > 0
        before = set(np.flatnonzero(held).tolist()) if valid else set()
        count = schedule(limits, where, layer, tokens, valid, True, held, scratch)
        rounds = [
            [(int(scratch.token[i]), int(scratch.port[i])) for i in range(*scratch.first[r : r + 2])]
            for r in range(count)
        ]
        found.append(Layer(layer, valid, rounds, before, set(np.flatnonzero(held).tolist())))
        last = layer
    return found


@dataclass
class _Forming:
    """A round that still takes entries."""

    limits: Limits
    entries: Round = field(default_factory=list)
    writes: int = 0

    def takes(self, port: int, keep: bool) -> bool:
        used = Counter(p for _, p in self.entries)
        allowed = self.limits.buffer_reads if port == BUFFER else 1
        room = len(self.entries) < self.limits.tokens and used[port] < allowed
        return room and not (keep and self.writes == self.limits.buffer_writes)

    def add(self, token: int, port: int, keep: bool) -> None:
        self.entries.append((token, port))
        self.writes += keep


def reused_next(where: Placement, layer: int, token: int, newest: int) -> bool:
    """The next layer's K/V of the token is not a new one."""
    sources = where.source[:, token].tolist()
    return token != newest and layer + 1 < len(sources) and 0 <= sources[layer + 1] < layer + 1


def in_order(limits: Limits, where: Placement, layer: int, tokens: int, held: set[int]) -> list[Round]:
    """Tokens in order; a round ends at the first that does not fit. ``held`` is brought up to date."""
    rounds: list[_Forming] = []
    for token in (t for t in range(tokens) if where.source[layer, t] >= 0):
        hit, again = token in held, reused_next(where, layer, token, tokens - 1)
        keep = again and not hit and len(held) < limits.capacity
        port = BUFFER if hit else int(where.port[layer, token])
        if not rounds or not rounds[-1].takes(port, keep):
            rounds.append(_Forming(limits))
        rounds[-1].add(token, port, keep)
        held.update({token} if keep else ())
        held.difference_update({token} if hit and not again else ())
    return [r.entries for r in rounds]


def queued(limits: Limits, where: Placement, layer: int, tokens: int, held: set[int]) -> list[Round]:
    """A queue a port, filled in order up to the first full one; a round takes heads, first port rotating."""
    held.clear()
    waiting = deque(t for t in range(tokens) if where.source[layer, t] >= 0)
    queues: list[deque[int]] = [deque() for _ in range(limits.ports)]
    rounds: list[Round] = []
    while waiting or any(queues):
        while waiting and len(queue := queues[where.port[layer, waiting[0]]]) < limits.queue_depth:
            queue.append(waiting.popleft())
        forming = _Forming(limits)
        for port in (np.arange(limits.ports) + len(rounds)) % limits.ports:
            if not queues[port]:
                continue
            token = queues[port][0]
            keep = len(held) < limits.capacity and reused_next(where, layer, token, tokens - 1)
            if forming.takes(int(port), keep):
                forming.add(queues[port].popleft(), int(port), keep)
                held.update({token} if keep else ())
        rounds.append(forming.entries)
    return rounds


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Any bounds; without buffer ports there is no buffer, as `limits_of` makes sure."""
    ports, reads, writes = draw(st.integers(1, 16)), draw(st.integers(0, 8)), draw(st.integers(0, 8))
    capacity = draw(st.integers(0, 64)) if reads and writes else 0
    most = draw(st.integers(1, ports + reads))
    return Limits(ports, most, reads, writes, capacity, draw(st.integers(1, 8)))


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    """Executed attention [layers, tokens]: any skip rate."""
    layers, tokens = draw(st.integers(1, 8)), draw(st.integers(1, 90))
    rate = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]))
    return np.random.default_rng(draw(st.integers(0, 2**32))).random((layers, tokens)) >= rate


def reuse_last(executed: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Source layer of every entry: the last that executed, −1 before the first."""
    found = np.full(executed.shape, -1, np.int16)
    for token, column in enumerate(executed.T):
        last = -1
        for layer, ran in enumerate(column):
            last = layer if ran else last
            found[layer, token] = last
    return found


def decode_of_newest(limits: Limits, executed: NDArray[np.bool_]) -> tuple[Placement, list[Layer]]:
    """Placement of all tokens and the schedules of the newest one's decode pass."""
    where = place(reuse_last(executed), limits.ports)
    layers = [int(i) for i in np.flatnonzero(executed[:, -1])]
    return where, run(limits, where, executed.shape[1], layers)
