"""The K/V round scheduler again, as plain rules over lists and sets."""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import place, schedule
from skipopu.numerics.kv_schedule import BUFFER, Limits, Placement, Schedule, commit, new_schedule

Entry = tuple[int, int]  # token, HBM port or BUFFER
Round = list[Entry]
Ring = list[tuple[int, int, int]]  # of a round: token, ring numbers it is read from and kept under, or NONE


@dataclass
class Layer:
    """What one layer's schedule is asked for, what came out, and what the buffer held before and after."""

    layer: int
    valid: bool
    rounds: list[Round]
    before: set[int]
    after: set[int]
    ring: list[Ring]


def run(limits: Limits, where: Placement, tokens: int, layers: Iterable[int]) -> list[Layer]:
    """Decode of the newest of ``tokens``, whose attention runs in ``layers``, through the real scheduler."""
    scratch = new_schedule(tokens, limits)
    found, last = [], -2
    for layer in layers:
        valid = layer == last + 1 and limits.capacity > 0
        before = set(np.flatnonzero(scratch.held[scratch.s.phase]).tolist()) if valid else set()
        count = schedule(limits, where, layer, tokens, valid, True, scratch)
        assert count == scratch.s.rounds
        commit(scratch)
        after = set(np.flatnonzero(scratch.held[scratch.s.phase]).tolist())
        found.append(Layer(layer, valid, _rounds(scratch), before, after, _kept(scratch)))
        last = layer
    return found


def _rounds(found: Schedule) -> list[Round]:
    pairs = list(zip(found.token.tolist(), found.port.tolist(), strict=True))
    return [pairs[slice(*found.first[r : r + 2])] for r in range(found.s.rounds)]


def _kept(found: Schedule) -> list[Ring]:
    rows = list(zip(found.token.tolist(), found.read.tolist(), found.kept.tolist(), strict=True))
    return [rows[slice(*found.first[r : r + 2])] for r in range(found.s.rounds)]


@dataclass
class _Forming:
    """A round that still takes entries."""

    limits: Limits
    entries: Round = field(default_factory=list)
    writes: int = 0

    def takes(self, port: int, keep: bool) -> bool:
        used = Counter(p for _, p in self.entries)
        allowed = self.limits.buffer_ports if port == BUFFER else 1
        room = len(self.entries) < self.limits.tokens and used[port] < allowed
        return room and not (keep and self.writes == self.limits.buffer_ports)

    def add(self, token: int, port: int, keep: bool) -> None:
        self.entries.append((token, port))
        self.writes += keep


def reused_next(where: Placement, layer: int, token: int, newest: int) -> bool:
    """The next layer's K/V of the token is not a new one."""
    sources = where.source[:, token].tolist()
    return token != newest and layer + 1 < len(sources) and 0 <= sources[layer + 1] < layer + 1


def in_order(limits: Limits, where: Placement, layer: int, tokens: int, held: set[int]) -> list[Round]:
    """Tokens in order; a round ends at the first that does not fit. ``held`` is brought up to date.

    A token that is read leaves its place at once; one that the next layer reuses is written again, if there is room.
    """
    rounds: list[_Forming] = []
    old, new = set(held), set[int]()
    for token in (t for t in range(tokens) if where.source[layer, t] >= 0):
        hit = token in old
        old.discard(token)
        keep = reused_next(where, layer, token, tokens - 1) and len(old) + len(new) < limits.capacity
        port = BUFFER if hit else int(where.port[layer, token])
        if not rounds or not rounds[-1].takes(port, keep):
            rounds.append(_Forming(limits))
        rounds[-1].add(token, port, keep)
        new.update({token} if keep else ())
    held.clear()
    held.update(new)
    return [r.entries for r in rounds]


def queued(limits: Limits, where: Placement, layer: int, tokens: int, held: set[int]) -> list[Round]:
    """A queue a port, filled in order up to the first full one; a round takes heads of a window of ports.

    The first tokens that the next layer reuses are kept, in turn in each bank; a round writes a bank once.
    """
    visible = [t for t in range(tokens) if where.source[layer, t] >= 0]
    kept = [t for t in visible if reused_next(where, layer, t, tokens - 1)][: limits.capacity]
    bank = {token: number % limits.buffer_ports for number, token in enumerate(kept)}
    waiting, rounds, turn = deque(visible), list[Round](), 0
    queues: list[deque[int]] = [deque() for _ in range(limits.ports)]
    while waiting or any(queues):
        while waiting and len(queue := queues[where.port[layer, waiting[0]]]) < limits.queue_depth:
            queue.append(waiting.popleft())
        taken: Round = []
        for port in ((turn + n) % limits.ports for n in range(min(limits.ports, limits.tokens))):
            busy = {bank[t] for t, _ in taken if t in bank}
            if queues[port] and bank.get(queues[port][0]) not in busy:
                taken.append((queues[port].popleft(), port))
        rounds += [taken] if taken else []
        turn = (turn + 1) % limits.ports
    held.clear()
    held.update(kept)
    return rounds


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    """Any bounds; without buffer ports there is no buffer, as `limits_of` makes sure."""
    ports, banks = draw(st.integers(1, 64)), draw(st.integers(0, 32))
    capacity = draw(st.integers(0, 128)) // banks * banks if banks else 0
    most = draw(st.integers(1, ports + banks))
    return Limits(ports, most, banks, capacity, draw(st.integers(2, 8)), draw(st.booleans()), False)


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
